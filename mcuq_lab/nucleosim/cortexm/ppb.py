"""The Private Peripheral Bus: what answers from 0xE0000000 on, for the core and the debugger."""

from __future__ import annotations

from mcuq_lab.nucleosim.chip import Core
from mcuq_lab.nucleosim.cortexm.rom_table import rom_table_words
from mcuq_lab.nucleosim.cortexm.scs import SystemControlSpace
from mcuq_lab.nucleosim.cortexm.trace import Breakpoints, CycleCounter
from mcuq_lab.nucleosim.peripherals.storage import Storage

START = 0xE0000000
SIZE_BYTES = 0x100000

_DWT, _FPB, _SCS = 0xE0001000, 0xE0002000, 0xE000E000
_DEMCR = 0xE000EDFC


class PrivatePeripherals:
    """Dispatch by 4 KB page; component identification registers at the end of each page."""

    def __init__(
        self,
        core: Core,
        scs: SystemControlSpace,
        cycle_counter: CycleCounter,
        breakpoints: Breakpoints,
        vendor_blocks: tuple[Storage, ...],
    ) -> None:
        """`vendor_blocks` are the chip's own registers on this bus, such as DBGMCU."""
        self._scs = scs
        self._cycle_counter = cycle_counter
        self._breakpoints = breakpoints
        self._vendor_blocks = {block.block.start: block for block in vendor_blocks}
        self._constants = rom_table_words(core)
        self._storage: dict[int, int] = {}

    def read(self, address: int, size: int) -> int:
        """The core reads."""
        return self._read_part(address, size, debugger=False)

    def write(self, address: int, size: int, value: int) -> None:
        """The core writes."""
        self._write_part(address, size, value, debugger=False)

    def debugger_read(self, address: int, size: int) -> int:
        """The debugger reads: DHCSR answers it only, and lets time pass."""
        return self._read_part(address, size, debugger=True)

    def debugger_write(self, address: int, size: int, value: int) -> None:
        """The debugger writes."""
        self._write_part(address, size, value, debugger=True)

    def _read_part(self, address: int, size: int, debugger: bool) -> int:
        word = self._read_word(address & ~3, debugger)
        return word >> 8 * (address & 3) & ((1 << 8 * size) - 1)

    def _write_part(self, address: int, size: int, value: int, debugger: bool) -> None:
        if size < 4:
            shift = 8 * (address & 3)
            mask = ((1 << 8 * size) - 1) << shift
            old = self._read_word(address & ~3, debugger=False)
            value = old & ~mask | value << shift & mask
        self._write_word(address & ~3, value & 0xFFFFFFFF, debugger)

    def _read_word(self, address: int, debugger: bool) -> int:
        if address in self._constants:
            return self._constants[address]
        page = address & ~0xFFF
        if page == _SCS:
            return self._scs.read(address - _SCS, debugger)
        if page == _DWT:
            return self._cycle_counter.read(address - _DWT, debugger)
        if page == _FPB:
            return self._breakpoints.read(address - _FPB)
        if page in self._vendor_blocks:
            return self._vendor_blocks[page].read_word(address - page)
        return self._storage.get(address, 0)

    def _write_word(self, address: int, value: int, debugger: bool) -> None:
        page = address & ~0xFFF
        if address == _DEMCR:
            self._cycle_counter.update()
            self._scs.write(address - _SCS, value, debugger)
            self._cycle_counter.update()
        elif page == _SCS:
            self._scs.write(address - _SCS, value, debugger)
        elif page == _DWT:
            self._cycle_counter.write(address - _DWT, value, debugger)
        elif page == _FPB:
            self._breakpoints.write(address - _FPB, value)
        elif page in self._vendor_blocks:
            self._vendor_blocks[page].write_word(address - page, value)
        else:
            self._storage[address] = value


class DebuggerView:
    """The same bus as the debugger sees it."""

    def __init__(self, peripherals: PrivatePeripherals) -> None:
        self.read = peripherals.debugger_read
        self.write = peripherals.debugger_write
