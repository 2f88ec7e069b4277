"""The Private Peripheral Bus: what answers from 0xE0000000 on, for the core and the debugger."""

from __future__ import annotations

from mcuq_lab.nucleosim.chip import Core
from mcuq_lab.nucleosim.cortexm.scs import SystemControlSpace
from mcuq_lab.nucleosim.cortexm.trace import Breakpoints, CycleCounter
from mcuq_lab.nucleosim.peripherals.storage import Storage

START = 0xE0000000
SIZE_BYTES = 0x100000
ROM_TABLE = 0xE00FF000

_ITM, _DWT, _FPB, _SCS = 0xE0000000, 0xE0001000, 0xE0002000, 0xE000E000
_TPIU = 0xE0040000
_DEMCR = 0xE000EDFC

# Components in the order of the ROM table: base and part number, and the class in CIDR1.
_COMPONENTS = (
    (_SCS, 0x00C, 0xE),
    (_DWT, 0x002, 0xE),
    (_FPB, 0x003, 0xE),
    (_ITM, 0x001, 0xE),
    (_TPIU, 0x9A1, 0x9),
)
_ARM_JEP106 = (0x4, 0x3B)  # continuation code, identity
_ST_JEP106 = (0x0, 0x20)
_DEVTYPE_OFFSET = 0xFCC
_TPIU_DEVTYPE = 0x11


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
        self._constants = _identification(core)
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
            return self._cycle_counter.read(address - _DWT)
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
            self._cycle_counter.write(address - _DWT, value)
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


def _identification(core: Core) -> dict[int, int]:
    """ROM table entries and the identification registers of every component."""
    words = {}
    for index, (base, part, component_class) in enumerate(_COMPONENTS):
        words[ROM_TABLE + 4 * index] = (base - ROM_TABLE & 0xFFFFF000) | 3
        words |= _id_registers(base, part, component_class, _ARM_JEP106)
    words[ROM_TABLE + 4 * len(_COMPONENTS)] = 0
    words[_TPIU + _DEVTYPE_OFFSET] = _TPIU_DEVTYPE
    return words | _id_registers(ROM_TABLE, core.rom_table_part, 0x1, _ST_JEP106)


def _id_registers(
    base: int, part: int, component_class: int, jep106: tuple[int, int]
) -> dict[int, int]:
    continuation, identity = jep106
    peripheral = (
        part & 0xFF,
        (identity & 0xF) << 4 | part >> 8,
        1 << 3 | identity >> 4,
        0,
    )
    component = (0x0D, component_class << 4, 0x05, 0xB1)
    words = {base + 0xFD0: continuation}
    words |= {base + 0xFE0 + 4 * index: value for index, value in enumerate(peripheral)}
    return words | {base + 0xFF0 + 4 * index: value for index, value in enumerate(component)}
