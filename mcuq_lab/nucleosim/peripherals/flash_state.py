"""The state of a flash interface, and compiled pieces that the families are made of.

Registers and stores to flash are compiled, because a flash algorithm polls them a lot. Their state
is an array of 64-bit words, shared by the compiled callbacks of the core and the debugger's
accesses. Erasing and programming take no simulated time, unless the controller is stuck.
"""

from __future__ import annotations

import numba

from mcuq_lab.nucleosim.engine.compiled import compiled
from mcuq_lab.nucleosim.engine.native import pointer

# Words of the state
MEMORY = 0  # host address of the flash contents
SIZE = 1  # in bytes, a power of two
ERASES = 2  # sectors erased since power-on, a mass erase counting each
DIRTY_START = 4  # offsets [start, end) changed since the last look
DIRTY_END = 5
WORN_OUT = 6  # offset of a byte whose bit 0 cannot be programmed, or -1
STUCK_BUSY = 7  # 1 while no operation completes
BUSY = 8  # 1 for ever after an operation that did not complete
FORCED = 9  # 1 while stores go through that will be corrected
CORRECTIONS = 10  # their number, then (offset, size, value) of each
MOST_CORRECTIONS = 16
LIMIT = 59  # host address of what stops the core at its next block when it becomes 0, or 0
UNDONE = 60  # from here to SECTORS: what a store that is taken back leaves as it was
REFUSES_AFTER = 60  # operations that still succeed before all fail, or -1
WRITES = 61  # successful program operations since power-on
ACCESS_CONTROL = 64  # the register ACR, with LATENCY in its lowest four bits
FAMILY = 65  # from here on what a family keeps, its registers above all
SECTORS = 128  # number of sectors, then their end offsets
_MOST_SECTORS = 256
BEFORE_STORE = SECTORS + 1 + _MOST_SECTORS  # copy of [UNDONE, SECTORS)
STATE_WORDS = BEFORE_STORE + SECTORS - UNDONE

# What opens CR and the option bytes, one after the other
KEYS = (0x45670123, 0xCDEF89AB)
OPTION_KEYS = (0x08192A3B, 0x4C5D6E7F)
UNLOCKED = 2
_BAD_KEYS = 3


@compiled
def take_key(state, stage, key, keys):
    """A key was written: the word `stage` becomes UNLOCKED after both in order.

    A wrong key locks until reset.
    """
    if state[stage] < UNLOCKED:
        state[stage] = state[stage] + 1 if key == keys[state[stage]] else _BAD_KEYS


@compiled
def unlock(state, stage, key, keys, register, lock):
    """The same where the keys clear the bits `lock` of the word `register`."""
    take_key(state, stage, key, keys)
    if state[stage] == UNLOCKED:
        state[register] &= ~lock


@compiled
def completes(state):
    """Whether an operation that starts now ends; one that does not leaves BUSY set."""
    if state[STUCK_BUSY] != 0:
        state[BUSY] = 1
    return state[BUSY] == 0


@compiled
def set_access_control(state, value):
    """ACR is written: wait states and caches change cycles, so stop the core at its next block.

    To be called by a family where firmware or debugger write it.
    """
    state[ACCESS_CONTROL] = value
    if state[LIMIT] != 0:
        numba.carray(pointer(state[LIMIT]), (1,), numba.int64)[0] = 0


@compiled
def refuses(state):
    """Whether an operation that starts now fails, for no fault of the firmware's.

    A family that asks shows it in the flag that it has for write protection.
    """
    if state[REFUSES_AFTER] > 0:
        state[REFUSES_AFTER] -= 1
        return False
    return state[REFUSES_AFTER] == 0


@compiled
def mark_dirty(state, start, end):
    """Offsets [start, end) have changed."""
    if state[DIRTY_END] == 0 or start < state[DIRTY_START]:
        state[DIRTY_START] = start
    if end > state[DIRTY_END]:
        state[DIRTY_END] = end


@compiled
def sector_count(state):
    """Number of sectors (or pages) of the whole flash."""
    return state[SECTORS]


@compiled
def sector_at(state, offset):
    """Number of the sector that holds `offset`, counted through all banks."""
    first, last = 0, state[SECTORS] - 1
    while first < last:
        middle = (first + last) // 2
        if offset < state[SECTORS + 1 + middle]:
            last = middle
        else:
            first = middle + 1
    return first


@compiled
def erase_sector(state, memory, sector):
    """Set a sector to ones."""
    start = 0 if sector == 0 else state[SECTORS + sector]
    end = state[SECTORS + 1 + sector]
    memory[start:end] = 0xFF
    state[ERASES] += 1
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
    if offset <= state[WORN_OUT] < offset + size:
        value |= 1 << (8 * (state[WORN_OUT] - offset))
    mark_dirty(state, offset, offset + size)
    return old & value


@compiled
def count_program(state):
    """A program operation has come to its end."""
    state[WRITES] += 1


@compiled
def programmed(state, old, offset, size, value):
    """The same for a store that ends a program operation: it is counted."""
    count_program(state)
    return cleared(state, old, offset, size, value)


@compiled
def is_repeated(state):
    """Whether a store belongs to an instruction that runs again because one of its was refused."""
    return state[FORCED] != 0
