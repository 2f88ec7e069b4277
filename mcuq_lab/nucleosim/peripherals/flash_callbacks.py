"""What Unicorn calls when the core reads or writes a register of the flash, or stores to flash."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numba
from numba import types

from mcuq_lab.nucleosim.engine.compiled import callback, compiled
from mcuq_lab.nucleosim.engine.native import pointer
from mcuq_lab.nucleosim.peripherals.flash_state import (
    BEFORE_STORE,
    CORRECTIONS,
    FORCED,
    MEMORY,
    MOST_CORRECTIONS,
    SECTORS,
    SIZE,
    STATE_WORDS,
    UNDONE,
)

# Signatures: reads and writes of registers, and UC_HOOK_MEM_WRITE_PROT
_STATE = types.CPointer(types.int64)
_ON_READ = types.uint64(types.int64, types.uint64, types.uint32, _STATE)
_ON_WRITE = types.void(types.int64, types.uint64, types.uint32, types.uint64, _STATE)
_ON_PROGRAM = types.uint8(types.int64, types.int32, types.uint64, types.int32, types.int64, _STATE)


@cache
def callbacks(family: ModuleType) -> tuple[Any, Any, Any]:
    """Compiled callbacks for reads and writes of registers and for stores to flash.

    Args:
        family: the module with the compiled functions `read_register(state, offset)`,
            `write_register(state, memory, offset, value)` and
            `program(state, memory, offset, size, value)`. It has to be a module: compiled code is
            kept by what its closure holds, and functions differ from one process to the next.
    """

    @callback(_ON_READ)
    def on_read(_engine, offset, size, user_data):
        state = numba.carray(user_data, (STATE_WORDS,))
        return numba.uint64(family.read_register(state, numba.int64(offset)))

    @callback(_ON_WRITE)
    def on_write(_engine, offset, size, value, user_data):
        state = numba.carray(user_data, (STATE_WORDS,))
        family.write_register(state, _memory_of(state), numba.int64(offset), numba.int64(value))

    @callback(_ON_PROGRAM)
    def on_program(_engine, _access, address, size, value, user_data):
        state = numba.carray(user_data, (STATE_WORDS,))
        offset, size, value = _store_operands(state, address, size, value)
        result = family.program(state, _memory_of(state), offset, size, value)
        return _settle_store(state, offset, size, value, result)

    return on_read, on_write, on_program


@compiled
def _memory_of(state):
    """The flash contents, as an array of bytes."""
    return numba.carray(pointer(state[MEMORY]), (state[SIZE],), numba.uint8)


@compiled
def _store_operands(state, address, size, value):
    """Offset, size and value of a store, from what Unicorn gives; any alias will do.

    From here on the store can be taken back.
    """
    for word in range(UNDONE, SECTORS):
        state[BEFORE_STORE + word - UNDONE] = state[word]
    size = numba.int64(size)
    mask = (1 << (8 * size)) - 1 if size < 8 else -1
    return numba.int64(address) & (state[SIZE] - 1), size, value & mask


@compiled
def _settle_store(state, offset, size, value, result):
    """Answer to Unicorn for a store of `value` that makes the contents `result`.

    Unicorn can let a store happen or stop before it, not change it. It nearly always writes what
    it should, to erased flash. If not, the store is taken back, the engine stops, runs the
    instruction with FORCED set, and the contents are corrected after it.
    """
    if result == value:
        return numba.uint8(1)
    if state[FORCED] == 0:
        for word in range(UNDONE, SECTORS):
            state[word] = state[BEFORE_STORE + word - UNDONE]
        return numba.uint8(0)
    count = state[CORRECTIONS]
    if count < MOST_CORRECTIONS:
        state[CORRECTIONS + 1 + 3 * count] = offset
        state[CORRECTIONS + 2 + 3 * count] = size
        state[CORRECTIONS + 3 + 3 * count] = result
        state[CORRECTIONS] = count + 1
    return numba.uint8(1)
