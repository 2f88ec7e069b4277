"""What the flash interfaces of all families share: compiled pieces, and the class around them.

Registers and stores to flash are compiled, because a flash algorithm polls them a lot. Their state
is an array of 64-bit words, shared by the compiled callbacks of the core and the debugger's
accesses. Erasing and programming take no simulated time, unless the controller is stuck.

A family has three compiled functions: `read_register(state, offset)`,
`write_register(state, memory, offset, value)` and `program(state, memory, offset, size, value)`;
three callbacks of Unicorn around them, with the signatures given here; and a `FlashInterface`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numba
import numpy as np
from numba import types

from mcuq_lab.nucleosim.chip import Flash
from mcuq_lab.nucleosim.engine.compiled import compiled
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.native import pointer

# Words of the state
_MEMORY = 0  # host address of the flash contents
_SIZE = 1  # in bytes, a power of two
_ERASES = 2  # sectors erased since power-on, a mass erase counting each
_DIRTY_START = 4  # offsets [start, end) changed since the last look
_DIRTY_END = 5
_WORN_OUT = 6  # offset of a byte whose bit 0 cannot be programmed, or -1
_STUCK_BUSY = 7  # 1 while no operation completes
BUSY = 8  # 1 for ever after an operation that did not complete
_FORCED = 9  # 1 while stores go through that will be corrected
_CORRECTIONS = 10  # their number, then (offset, size, value) of each
_MOST_CORRECTIONS = 16
_LIMIT = 59  # host address of what stops the core at its next block when it becomes 0, or 0
_UNDONE = 60  # from here to _SECTORS: what a store that is taken back leaves as it was
_REFUSES_AFTER = 60  # operations that still succeed before all fail, or -1
_WRITES = 61  # successful program operations since power-on
FAMILY = 64  # from here on what a family keeps, its registers above all
_SECTORS = 128  # number of sectors, then their end offsets
_MOST_SECTORS = 256
_BEFORE_STORE = _SECTORS + 1 + _MOST_SECTORS  # copy of [_UNDONE, _SECTORS)
STATE_WORDS = _BEFORE_STORE + _SECTORS - _UNDONE

_BAD_KEYS = 3
UNLOCKED = 2

# Signatures of the callbacks: reads and writes of registers, and UC_HOOK_MEM_WRITE_PROT
_STATE = types.CPointer(types.int64)
ON_READ = types.uint64(types.int64, types.uint64, types.uint32, _STATE)
ON_WRITE = types.void(types.int64, types.uint64, types.uint32, types.uint64, _STATE)
ON_PROGRAM = types.uint8(types.int64, types.int32, types.uint64, types.int32, types.int64, _STATE)


@compiled
def take_key(stage, key, first, second):
    """Stage of an unlock sequence after `key`, from 0; a wrong key locks until reset."""
    if stage == 0 and key == first:
        return 1
    if stage == 1 and key == second:
        return UNLOCKED
    if stage == UNLOCKED:
        return UNLOCKED
    return _BAD_KEYS


@compiled
def completes(state):
    """Whether an operation that starts now ends; one that does not leaves BUSY set."""
    if state[_STUCK_BUSY] != 0:
        state[BUSY] = 1
    return state[BUSY] == 0


@compiled
def note_access_settings(state):
    """Wait states or caches are set: stop the core at its next block, for they change its cycles.

    To be called by a family where firmware or debugger write the access control register.
    """
    if state[_LIMIT] != 0:
        numba.carray(pointer(state[_LIMIT]), (1,), numba.int64)[0] = 0


@compiled
def refuses(state):
    """Whether an operation that starts now fails, for no fault of the firmware's.

    A family that asks shows it in the flag that it has for write protection.
    """
    if state[_REFUSES_AFTER] > 0:
        state[_REFUSES_AFTER] -= 1
        return False
    return state[_REFUSES_AFTER] == 0


@compiled
def mark_dirty(state, start, end):
    """Offsets [start, end) have changed."""
    if state[_DIRTY_END] == 0 or start < state[_DIRTY_START]:
        state[_DIRTY_START] = start
    if end > state[_DIRTY_END]:
        state[_DIRTY_END] = end


@compiled
def sector_count(state):
    """Number of sectors (or pages) of the whole flash."""
    return state[_SECTORS]


@compiled
def sector_at(state, offset):
    """Number of the sector that holds `offset`, counted through all banks."""
    first, last = 0, state[_SECTORS] - 1
    while first < last:
        middle = (first + last) // 2
        if offset < state[_SECTORS + 1 + middle]:
            last = middle
        else:
            first = middle + 1
    return first


@compiled
def erase_sector(state, memory, sector):
    """Set a sector to ones."""
    start = 0 if sector == 0 else state[_SECTORS + sector]
    end = state[_SECTORS + 1 + sector]
    memory[start:end] = 0xFF
    state[_ERASES] += 1
    mark_dirty(state, start, end)


@compiled
def contents(memory, offset, size):
    """Little-endian value of `size` bytes."""
    value = 0
    for index in range(size):
        value |= numba.int64(memory[offset + index]) << (8 * index)
    return value


@compiled
def cleared(state, old, offset, size, value):
    """What `old` becomes when `value` is stored over it: bits go from 1 to 0."""
    if offset <= state[_WORN_OUT] < offset + size:
        value |= 1 << (8 * (state[_WORN_OUT] - offset))
    mark_dirty(state, offset, offset + size)
    return old & value


@compiled
def count_program(state):
    """A program operation has come to its end."""
    state[_WRITES] += 1


@compiled
def programmed(state, old, offset, size, value):
    """The same for a store that ends a program operation: it is counted."""
    count_program(state)
    return cleared(state, old, offset, size, value)


@compiled
def memory_of(state):
    """The flash contents, as an array of bytes."""
    return numba.carray(pointer(state[_MEMORY]), (state[_SIZE],), numba.uint8)


@compiled
def store_operands(state, address, size, value):
    """Offset, size and value of a store, from what Unicorn gives; any alias will do.

    From here on the store can be taken back.
    """
    for word in range(_UNDONE, _SECTORS):
        state[_BEFORE_STORE + word - _UNDONE] = state[word]
    size = numba.int64(size)
    mask = (1 << (8 * size)) - 1 if size < 8 else -1
    return numba.int64(address) & (state[_SIZE] - 1), size, value & mask


@compiled
def is_repeated(state):
    """Whether a store belongs to an instruction that runs again because one of its was refused."""
    return state[_FORCED] != 0


@compiled
def settle_store(state, offset, size, value, result):
    """Answer to Unicorn for a store of `value` that makes the contents `result`.

    Unicorn can let a store happen or stop before it, not change it. It nearly always writes what
    it should, to erased flash. If not, the store is taken back, the engine stops, runs the
    instruction with FORCED set, and the contents are corrected after it.
    """
    if result == value:
        return numba.uint8(1)
    if state[_FORCED] == 0:
        for word in range(_UNDONE, _SECTORS):
            state[word] = state[_BEFORE_STORE + word - _UNDONE]
        return numba.uint8(0)
    count = state[_CORRECTIONS]
    if count < _MOST_CORRECTIONS:
        state[_CORRECTIONS + 1 + 3 * count] = offset
        state[_CORRECTIONS + 2 + 3 * count] = size
        state[_CORRECTIONS + 3 + 3 * count] = result
        state[_CORRECTIONS] = count + 1
    return numba.uint8(1)


class FlashInterface(ABC):
    """The registers of a flash memory and the contents that they guard."""

    on_read: ClassVar[Any]
    on_write: ClassVar[Any]
    on_program: ClassVar[Any]
    # The same three for the debugger: static methods.
    _read_register: ClassVar[Callable[[np.ndarray, int], int]]
    _write_register: ClassVar[Callable[[np.ndarray, np.ndarray, int, int], None]]
    _program: ClassVar[Callable[[np.ndarray, np.ndarray, int, int, int], int]]

    def __init__(self, flash: Flash, memory: HostMemory) -> None:
        self.flash = flash
        self.memory = memory
        self.state = np.zeros(STATE_WORDS, dtype=np.int64)
        self.state[_MEMORY] = memory.address
        self.state[_SIZE] = memory.size_bytes
        self.state[_WORN_OUT] = -1
        self.state[_REFUSES_AFTER] = -1
        ends = np.cumsum(flash.sector_bytes)
        self.state[_SECTORS] = len(ends)
        self.state[_SECTORS + 1 : _SECTORS + 1 + len(ends)] = ends
        self._load_options()
        self.reset()

    @abstractmethod
    def _load_options(self) -> None:
        """Option bytes as they leave the factory."""

    @abstractmethod
    def _reset_registers(self) -> None:
        """Registers as after a system reset; option bytes keep what was programmed."""

    @property
    @abstractmethod
    def wait_states(self) -> int:
        """Flash wait states that are set."""

    @property
    def prefetch_on(self) -> bool:
        """Whether the flash interface reads ahead of the core."""
        return False

    @property
    def instruction_cache_on(self) -> bool:
        """Whether the flash interface's own cache of code is on, if it has one."""
        return False

    @property
    def data_cache_on(self) -> bool:
        """Whether the flash interface's own cache of data is on, if it has one."""
        return False

    def stop_by(self, limit_address: int) -> None:
        """When the access settings change, write 0 to this host address (a 64-bit word)."""
        self.state[_LIMIT] = limit_address

    @property
    def boot_address(self) -> int:
        """Where the core looks for its vectors after a reset, with the BOOT0 pin low."""
        return self.flash.starts[-1]

    def reset(self) -> None:
        """System reset: it ends an operation that does not complete."""
        self.state[BUSY] = 0
        self._reset_registers()

    def read(self, address: int, size: int) -> int:
        """The debugger reads a register."""
        offset = address - self.flash.controller_base
        return int(self._read_register(self.state, offset & ~3)) >> 8 * (offset & 3)

    def write(self, address: int, size: int, value: int) -> None:
        """The debugger writes a register."""
        offset = address - self.flash.controller_base
        self._write_register(self.state, self.memory.bytes, offset, value)

    def program(self, address: int, data: bytes) -> None:
        """The debugger stores to flash: as words where it can, like the core."""
        for at in range(0, len(data), 4):
            chunk = data[at : at + 4]
            offset = address - self.flash.start + at
            value = int.from_bytes(chunk, "little")
            result = self._program(self.state, self.memory.bytes, offset, len(chunk), value)
            self._set(offset, len(chunk), int(result))

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

    def _set(self, offset: int, size: int, value: int) -> None:
        # Eight bytes whose top bit is set are a negative word of the state.
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self.memory.write(self.memory.start + offset, data)

    def take_dirty(self) -> tuple[int, int] | None:
        """Offsets [start, end) of the contents that changed since the last call."""
        start, end = int(self.state[_DIRTY_START]), int(self.state[_DIRTY_END])
        if end == 0:
            return None
        self.state[_DIRTY_START] = self.state[_DIRTY_END] = 0
        return start, end

    @property
    def erase_count(self) -> int:
        """Sectors erased since power-on."""
        return int(self.state[_ERASES])

    @property
    def write_count(self) -> int:
        """Program operations since power-on that changed the contents or could have."""
        return int(self.state[_WRITES])

    @property
    def stuck_address(self) -> int | None:
        """Address of a worn-out byte, whose bit 0 stays 1; None if all are sound."""
        offset = int(self.state[_WORN_OUT])
        return None if offset < 0 else offset + self.flash.start

    @stuck_address.setter
    def stuck_address(self, address: int | None) -> None:
        self.state[_WORN_OUT] = -1 if address is None else address - self.flash.start

    @property
    def stuck_busy(self) -> bool:
        """Whether no operation completes: the next one that starts shows as busy until reset."""
        return bool(self.state[_STUCK_BUSY])

    @stuck_busy.setter
    def stuck_busy(self, stuck: bool) -> None:
        self.state[_STUCK_BUSY] = stuck
        if not stuck:
            self.state[BUSY] = 0

    def refuse_after(self, operations: int | None) -> None:
        """Let so many erase and program operations succeed, then none; None: all, as they should.

        What is counted are sectors of an erase and stores of a program operation.
        """
        self.state[_REFUSES_AFTER] = -1 if operations is None else operations
