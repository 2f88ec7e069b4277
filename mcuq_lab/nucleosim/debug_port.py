"""The debug port and its access ports, register by register (ARM ADIv5.2: SW-DP and MEM-AP)."""

from __future__ import annotations

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import AccessPort, Chip
from mcuq_lab.nucleosim.engine.memory_map import BusError

_DP_IDR_ABORT, _DP_CTRL_STAT, _DP_SELECT, _DP_RDBUFF = 0x0, 0x4, 0x8, 0xC

_STICKYERR = 1 << 5
_STKERRCLR = 1 << 2
_POWER_REQUESTS = (1 << 28) | (1 << 30)  # CDBGPWRUPREQ, CSYSPWRUPREQ; the acknowledges follow each

_AP_CSW, _AP_TAR, _AP_DRW, _AP_BD0, _AP_BASE, _AP_IDR = 0x00, 0x04, 0x0C, 0x10, 0xF8, 0xFC

# AHB-AP of the Cortex-M4: DbgStatus set, master type and HPROT[3:0] writable, sizes 8, 16, 32 bits
_CSW_RESET = 0x23000042
_CSW_WRITABLE = 0x2F000037
_INCREMENT_SINGLE = 1 << 4
_TAR_WRAP_BYTES = 0x1000
_BASE_PRESENT = 0b11


class StickyError(Exception):
    """An access got FAULT: the bus answered with an error, or the sticky flag is still set."""


class DebugPort:
    """State of the debug logic that is not the processor's."""

    def __init__(self, board: SimulatedBoard) -> None:
        self._board = board
        self._select = 0
        self._control = 0
        self._sticky = False
        self._ports = [_MemoryPort(board, port) for port in _access_ports(board.chip)]
        self._read_buffer = 0

    def set_sticky_error(self) -> None:
        """An access was acknowledged with FAULT: no other works until the flag is cleared."""
        self._sticky = True

    def read_dp(self, address: int) -> int:
        """Read a debug port register (A[3:2])."""
        register = address & 0xC
        if register == _DP_IDR_ABORT:
            return self._board.chip.core.dp_idr
        if register == _DP_CTRL_STAT:
            acknowledges = (self._control & _POWER_REQUESTS) << 1
            return self._control | acknowledges | (_STICKYERR if self._sticky else 0)
        return self._read_buffer if register == _DP_RDBUFF else 0

    def write_dp(self, address: int, value: int) -> None:
        """Write a debug port register (A[3:2])."""
        register = address & 0xC
        if register == _DP_IDR_ABORT and value & _STKERRCLR:
            self._sticky = False
        elif register == _DP_CTRL_STAT:
            self._control = value & 0x5FFFFF0F
        elif register == _DP_SELECT:
            self._select = value

    def read_ap(self, address: int) -> int:
        """Read an access port register: port and bank from SELECT, A[3:2] from `address`.

        Raises:
            StickyError: the bus access failed, or an earlier one did and was not cleared.
        """
        port = self._selected()
        if port is None:
            return 0
        try:
            self._read_buffer = port.read(self._select & 0xF0 | address & 0xC)
        except BusError as error:
            self._sticky = True
            raise StickyError from error
        return self._read_buffer

    def write_ap(self, address: int, value: int) -> None:
        """Write an access port register.

        Raises:
            StickyError: as for reads.
        """
        port = self._selected()
        if port is None:
            return
        try:
            port.write(self._select & 0xF0 | address & 0xC, value)
        except BusError as error:
            self._sticky = True
            raise StickyError from error

    def _selected(self) -> _MemoryPort | None:
        if self._sticky:
            raise StickyError
        number = self._select >> 24
        return self._ports[number] if number < len(self._ports) else None


class _MemoryPort:
    """One access port to memory."""

    def __init__(self, board: SimulatedBoard, port: AccessPort) -> None:
        self._board = board
        self._port = port
        self._csw = _CSW_RESET
        self._tar = 0

    def read(self, register: int) -> int:
        """Value of a register; raises BusError where nothing answers."""
        if register == _AP_DRW:
            size = 1 << (self._csw & 7)
            value = self._read_bus(self._tar, size) << 8 * (self._tar & 3)
            self._increment(size)
            return value
        if _AP_BD0 <= register < _AP_BD0 + 16:
            return self._read_bus(self._tar & ~0xF | register & 0xC, 4)
        constants = {
            _AP_CSW: self._csw,
            _AP_TAR: self._tar,
            _AP_BASE: self._port.base,
            _AP_IDR: self._port.idr,
        }
        return constants.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Write a register; raises BusError where nothing answers."""
        if register == _AP_CSW:
            self._csw = value & _CSW_WRITABLE | _CSW_RESET & ~_CSW_WRITABLE
        elif register == _AP_TAR:
            self._tar = value
        elif register == _AP_DRW:
            size = 1 << (self._csw & 7)
            lane = 8 * (self._tar & 3)
            self._write_bus(self._tar, (value >> lane & ((1 << 8 * size) - 1)), size)
            self._increment(size)
        elif _AP_BD0 <= register < _AP_BD0 + 16:
            self._write_bus(self._tar & ~0xF | register & 0xC, value, 4)

    def _increment(self, size: int) -> None:
        if self._csw & 0x30 == _INCREMENT_SINGLE:
            wrap = _TAR_WRAP_BYTES - 1
            self._tar = self._tar & ~wrap | self._tar + size & wrap

    def _read_bus(self, address: int, size: int) -> int:
        return int.from_bytes(self._board.read(self._system(address & -size), size), "little")

    def _write_bus(self, address: int, value: int, size: int) -> None:
        self._board.write(self._system(address & -size), value.to_bytes(size, "little"))

    def _system(self, address: int) -> int:
        return address + self._port.offset & 0xFFFFFFFF


def _access_ports(chip: Chip) -> tuple[AccessPort, ...]:
    core = chip.core
    return (AccessPort(core.ap_idr, core.rom_table | _BASE_PRESENT), *chip.access_ports)
