"""Flash interface of the STM32F4 (RM0402 chapter 3), compiled: a flash algorithm polls it a lot.

State is an array of 64-bit words, shared by the compiled callbacks of the core and the debugger's
accesses. Erasing and programming take no simulated time: BSY always reads 0.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from mcuq_lab.nucleosim.chip import Flash
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.native import pointer

# Registers, by offset
ACR = 0x00
KEYR = 0x04
OPTKEYR = 0x08
SR = 0x0C
CR = 0x10
OPTCR = 0x14

# Words of the state
_ACR = 0
_SR = 1
_CR = 2
_OPTCR = 3
_KEYS = 4  # keys taken so far; _BAD_KEYS after a wrong one, until reset
_OPTION_KEYS = 5
_MEMORY = 6  # host address of the flash contents
_SIZE = 7
ERASES = 8  # sectors erased since power-on, a mass erase counting each
WRITES = 9  # successful program accesses since power-on
DIRTY_START = 10  # offsets [start, end) changed since the last look
DIRTY_END = 11
STUCK = 12  # offset of a byte whose bit 0 cannot be programmed, or -1
_FORCED = 13  # 1 while stores go through that will be corrected
_SECTORS = 14  # number of sectors, then their end offsets
_CORRECTIONS = 48  # their number, then (offset, size, value) of each
_MOST_CORRECTIONS = 16
_WORDS = 128

_BAD_KEYS = 3
_KEY1, _KEY2 = 0x45670123, 0xCDEF89AB
_OPTION_KEY1, _OPTION_KEY2 = 0x08192A3B, 0x4C5D6E7F

_SR_EOP = 1 << 0
_SR_WRPERR = 1 << 4
_SR_PGPERR = 1 << 6
_SR_PGSERR = 1 << 7
_SR_CLEARABLE = 0x1F3

_CR_PG = 1 << 0
_CR_SER = 1 << 1
_CR_MER = 1 << 2
_CR_STRT = 1 << 16
_CR_EOPIE = 1 << 24
_CR_LOCK = 1 << 31
_CR_WRITABLE = 0x0301037F

_OPTCR_LOCK = 1 << 0
_OPTCR_START = 1 << 1
_OPTCR_RESET = 0x0FFFAAED


@numba.njit(cache=True)
def _take_key(stage, key, first, second):
    """Stage of an unlock sequence after `key`; 2 is unlocked."""
    if stage == 0 and key == first:
        return 1
    if stage == 1 and key == second:
        return 2
    if stage == 2:
        return 2
    return _BAD_KEYS


@numba.njit(cache=True)
def _is_protected(state, sector):
    """Whether a sector is write-protected (nWRP bit clear)."""
    return (state[_OPTCR] >> (16 + sector)) & 1 == 0


@numba.njit(cache=True)
def _mark_dirty(state, start, end):
    if state[DIRTY_END] == 0 or start < state[DIRTY_START]:
        state[DIRTY_START] = start
    if end > state[DIRTY_END]:
        state[DIRTY_END] = end


@numba.njit(cache=True)
def _erase(state, memory, sector):
    start = 0 if sector == 0 else state[_SECTORS + sector]
    end = state[_SECTORS + 1 + sector]
    memory[start:end] = 0xFF
    state[ERASES] += 1
    _mark_dirty(state, start, end)


@numba.njit(cache=True)
def _start(state, memory):
    """CR.STRT was written: erase what CR selects."""
    cr = state[_CR]
    sectors = state[_SECTORS]
    if cr & _CR_MER:
        for sector in range(sectors):
            if _is_protected(state, sector):
                state[_SR] |= _SR_WRPERR
                return
        for sector in range(sectors):
            _erase(state, memory, sector)
    elif cr & _CR_SER:
        sector = (cr >> 3) & 0xF
        if sector >= sectors or _is_protected(state, sector):
            state[_SR] |= _SR_WRPERR
            return
        _erase(state, memory, sector)
    else:
        state[_SR] |= _SR_PGSERR
        return
    if cr & _CR_EOPIE:
        state[_SR] |= _SR_EOP


@numba.njit(cache=True)
def read_register(state, offset):
    """Value of the register at `offset`; the key registers read as 0."""
    if offset == ACR:
        return state[_ACR]
    if offset == SR:
        return state[_SR]
    if offset == CR:
        return state[_CR]
    if offset == OPTCR:
        return state[_OPTCR]
    return 0


@numba.njit(cache=True)
def write_register(state, memory, offset, value):
    """Write the register at `offset`."""
    if offset == ACR:
        state[_ACR] = value & 0x1F0F
    elif offset == KEYR:
        state[_KEYS] = _take_key(state[_KEYS], value, _KEY1, _KEY2)
        if state[_KEYS] == 2:
            state[_CR] &= ~_CR_LOCK
    elif offset == OPTKEYR:
        state[_OPTION_KEYS] = _take_key(state[_OPTION_KEYS], value, _OPTION_KEY1, _OPTION_KEY2)
        if state[_OPTION_KEYS] == 2:
            state[_OPTCR] &= ~_OPTCR_LOCK
    elif offset == SR:
        state[_SR] &= ~(value & _SR_CLEARABLE)
    elif offset == CR and state[_CR] & _CR_LOCK == 0:
        state[_CR] = value & (_CR_WRITABLE & ~_CR_STRT)
        if value & _CR_LOCK:
            state[_CR] |= _CR_LOCK
            state[_KEYS] = 0
        elif value & _CR_STRT:
            _start(state, memory)
    elif offset == OPTCR and state[_OPTCR] & _OPTCR_LOCK == 0:
        # The read protection level (bits 15..8) stays at 0.
        state[_OPTCR] = (value & 0x0FFF00EC) | 0xAA00
        if value & _OPTCR_LOCK:
            state[_OPTCR] |= _OPTCR_LOCK
            state[_OPTION_KEYS] = 0


@numba.njit(cache=True)
def _contents(memory, offset, size):
    """Little-endian value of `size` bytes."""
    value = 0
    for index in range(size):
        value |= numba.int64(memory[offset + index]) << (8 * index)
    return value


@numba.njit(cache=True)
def program(state, memory, offset, size, value):
    """What `size` bytes of flash become by a store: bits go from 1 to 0, if the controller allows.

    Sets the error flags; the contents are left to the caller.
    """
    cr = state[_CR]
    old = _contents(memory, offset, size)
    if cr & _CR_PG == 0 or cr & (_CR_LOCK | _CR_SER | _CR_MER):
        state[_SR] |= _SR_PGSERR
        return old
    if size != 1 << ((cr >> 8) & 3):
        state[_SR] |= _SR_PGPERR
        return old
    sector = 0
    while offset >= state[_SECTORS + 1 + sector]:
        sector += 1
    if _is_protected(state, sector):
        state[_SR] |= _SR_WRPERR
        return old
    if offset <= state[STUCK] < offset + size:
        value |= 1 << (8 * (state[STUCK] - offset))
    state[WRITES] += 1
    _mark_dirty(state, offset, offset + size)
    if cr & _CR_EOPIE:
        state[_SR] |= _SR_EOP
    return old & value


@numba.njit(cache=True)
def _memory(state):
    return numba.carray(pointer(state[_MEMORY]), (state[_SIZE],), numba.uint8)


@numba.cfunc(
    types.uint64(types.int64, types.uint64, types.uint32, types.CPointer(types.int64)), cache=True
)
def _on_read(_engine, offset, size, user_data):
    state = numba.carray(user_data, (_WORDS,))
    return numba.uint64(read_register(state, numba.int64(offset)))


@numba.cfunc(
    types.void(types.int64, types.uint64, types.uint32, types.uint64, types.CPointer(types.int64)),
    cache=True,
)
def _on_write(_engine, offset, size, value, user_data):
    state = numba.carray(user_data, (_WORDS,))
    write_register(state, _memory(state), numba.int64(offset), numba.int64(value))


@numba.cfunc(
    types.uint8(
        types.int64,
        types.int32,
        types.uint64,
        types.int32,
        types.int64,
        types.CPointer(types.int64),
    ),
    cache=True,
)
def _on_program(_engine, _access, address, size, value, user_data):
    """UC_HOOK_MEM_WRITE_PROT: let a store go through if it does what programming would do.

    Unicorn can let a store happen or stop before it, not change it. It nearly always writes what
    it should, to erased flash. If not, the engine stops, runs the instruction with FORCED set, and
    the contents are corrected after it.
    """
    state = numba.carray(user_data, (_WORDS,))
    memory = _memory(state)
    offset = numba.int64(address) & 0xFFFFFF
    size = numba.int64(size)
    value &= (1 << (8 * size)) - 1
    result = program(state, memory, offset, size, value)
    if state[_FORCED] != 0:
        count = state[_CORRECTIONS]
        if count < _MOST_CORRECTIONS:
            state[_CORRECTIONS + 1 + 3 * count] = offset
            state[_CORRECTIONS + 2 + 3 * count] = size
            state[_CORRECTIONS + 3 + 3 * count] = result
            state[_CORRECTIONS] = count + 1
        return numba.uint8(1)
    return numba.uint8(result == value)


class FlashControllerF4:
    """The controller and the contents it guards."""

    on_read = _on_read
    on_write = _on_write
    on_program = _on_program

    def __init__(self, flash: Flash, memory: HostMemory) -> None:
        self.flash = flash
        self.memory = memory
        self.state = np.zeros(_WORDS, dtype=np.int64)
        self.state[_MEMORY] = memory.address
        self.state[_SIZE] = memory.size_bytes
        self.state[STUCK] = -1
        ends = np.cumsum(flash.sector_bytes)
        self.state[_SECTORS] = len(ends)
        self.state[_SECTORS + 1 : _SECTORS + 1 + len(ends)] = ends
        self.state[_OPTCR] = _OPTCR_RESET
        self.reset()

    def reset(self) -> None:
        """Registers as after a system reset; option bytes keep what was programmed."""
        self.state[[_ACR, _SR, _KEYS, _OPTION_KEYS]] = 0
        self.state[_CR] = _CR_LOCK
        self.state[_OPTCR] |= _OPTCR_LOCK

    def read(self, address: int, size: int) -> int:
        """The debugger reads a register."""
        offset = address - self.flash.controller_base
        return int(read_register(self.state, offset & ~3)) >> 8 * (offset & 3)

    def write(self, address: int, size: int, value: int) -> None:
        """The debugger writes a register."""
        offset = address - self.flash.controller_base
        write_register(self.state, self.memory.bytes, offset, value)

    def program(self, address: int, data: bytes) -> None:
        """The debugger stores to flash: as words where it can, like the core."""
        for at in range(0, len(data), 4):
            chunk = data[at : at + 4]
            offset = address - self.flash.start + at
            value = int.from_bytes(chunk, "little")
            self._set(offset, len(chunk), self._program(offset, len(chunk), value))

    def begin_forced_stores(self) -> None:
        """Let every store of the next instruction go through, to be corrected after it."""
        self.state[_FORCED] = 1
        self.state[_CORRECTIONS] = 0

    def end_forced_stores(self) -> None:
        """Give the contents that were stored to what programming makes of them."""
        self.state[_FORCED] = 0
        for index in range(self.state[_CORRECTIONS]):
            at = _CORRECTIONS + 1 + 3 * index
            self._set(*self.state[at : at + 3].tolist())

    def _program(self, offset: int, size: int, value: int) -> int:
        return int(program(self.state, self.memory.bytes, offset, size, value))

    def _set(self, offset: int, size: int, value: int) -> None:
        self.memory.write(self.memory.start + offset, value.to_bytes(size, "little"))

    def take_dirty(self) -> tuple[int, int] | None:
        """Offsets [start, end) of the contents that changed since the last call."""
        start, end = int(self.state[DIRTY_START]), int(self.state[DIRTY_END])
        if end == 0:
            return None
        self.state[DIRTY_START] = self.state[DIRTY_END] = 0
        return start, end

    @property
    def wait_states(self) -> int:
        """Flash wait states that are set (ACR.LATENCY)."""
        return int(self.state[_ACR]) & 0xF

    @property
    def erase_count(self) -> int:
        """Sectors erased since power-on."""
        return int(self.state[ERASES])

    @property
    def write_count(self) -> int:
        """Program accesses since power-on that changed the contents or could have."""
        return int(self.state[WRITES])

    @property
    def stuck_address(self) -> int | None:
        """Address of a worn-out byte, whose bit 0 stays 1; None if all are sound."""
        offset = int(self.state[STUCK])
        return None if offset < 0 else offset + self.flash.start

    @stuck_address.setter
    def stuck_address(self, address: int | None) -> None:
        self.state[STUCK] = -1 if address is None else address - self.flash.start
