"""The compiled hooks: count the cycles of each basic block, guard single instructions.

Unicorn calls the block hook before each basic block. The cost of a block depends on which block
comes next, so it is added when the next one starts. Costs come from a table that Python fills, one
row for each (block address, entry state, places of base registers) when it is first met; each row
also remembers its last successors, so that a loop runs without any search.
"""

import numba
from numba import types
from unicorn.arm_const import UC_ARM_REG_XPSR

from mcuq_lab.nucleosim.engine.calls import END_PLAIN, follow
from mcuq_lab.nucleosim.engine.compiled import callback, compiled
from mcuq_lab.nucleosim.engine.context import (
    CALLS,
    CODE_WAITS,
    CYCLES,
    DIVIDE_TRAPS,
    EMU_STOP,
    ENDS_ADDRESS,
    HASH_ADDRESS,
    HASH_SLOTS,
    INSTRUCTIONS,
    LIMIT,
    MAX_ROWS,
    MEMORIES_ADDRESS,
    MEMORY_PAGE_BITS,
    MUTED,
    NO_CHECK,
    NO_ROW,
    PLACE_BITS,
    PLACE_MASK,
    PREDICTOR_ADDRESS,
    PREDICTOR_ENTRIES,
    REG_READ,
    RESIDUE_BITS,
    RESOLVE,
    ROW,
    ROW_ADDRESS,
    ROW_BASES,
    ROW_CHECKS,
    ROW_CHECKS_KEPT,
    ROW_COUNT_NEXT,
    ROW_COUNT_TAKEN,
    ROW_CYCLES_NEXT,
    ROW_CYCLES_TAKEN,
    ROW_EXIT_NEXT,
    ROW_EXIT_TAKEN,
    ROW_EXTRA_BRANCH,
    ROW_EXTRA_DIVIDE,
    ROW_FIRST_BASE,
    ROW_FIRST_CHECK,
    ROW_INSTRUCTIONS,
    ROW_MISPREDICT,
    ROW_NEXT,
    ROW_PREDICTOR,
    ROW_SIGNATURE,
    ROW_SIZE,
    ROW_STATE,
    ROW_TAKEN,
    ROW_TAKEN_ADDRESS,
    ROW_WORDS,
    ROWS_ADDRESS,
    SIZE,
    STATE,
    STOP,
    STOP_ADDRESS,
    STOP_BREAKPOINT,
    STOP_DIVIDE_BY_ZERO,
    STOP_LIMIT,
    STOP_NO_FPU,
    STOP_SUSPECT,
    STOP_UNALIGNED,
)
from mcuq_lab.nucleosim.engine.native import call_1, call_3, pointer, read_register
from mcuq_lab.nucleosim.engine.waits import enter_block
from mcuq_lab.nucleosim.thumb import ALWAYS
from mcuq_lab.nucleosim.timing import extra_divide_cycles

# A guard tells an instruction hook what to do: kind, condition of the instruction, operands, and
# the address of the context.
GUARD_BREAKPOINT = 0
GUARD_ALIGNED_BASE = 1  # operand: base register
GUARD_DIVIDE = 2  # operands: dividend register, divisor register, signed, see DynamicCost
GUARD_FPU = 3
GUARD_CONTEXT = 7
GUARD_WORDS = 8

_BLOCK_HOOK = types.void(types.int64, types.uint64, types.uint32, types.CPointer(types.int64))

_extra_divide_cycles = compiled(extra_divide_cycles)


@compiled
def hash_slot(address, state, signature):
    """First slot to look at for a row, in a table of HASH_SLOTS."""
    key = (address << 12) ^ state ^ (signature * 0x85EBCA77)
    return ((key * 0x9E3779B1) >> 13) & (HASH_SLOTS - 1)


@compiled
def _signature(context, engine, rows, base):
    """Where the base registers of a block point now, as far as its cost depends on it."""
    memories = numba.carray(pointer(context[MEMORIES_ADDRESS]), (1 << 20,), numba.uint8)
    signature = numba.int64(0)
    for index in range(rows[base + ROW_BASES]):
        value = read_register(context[REG_READ], engine, rows[base + ROW_FIRST_BASE + index])
        memory = numba.int64(memories[value >> MEMORY_PAGE_BITS])
        place = (memory << RESIDUE_BITS) | (value & context[PLACE_MASK])
        signature |= place << (PLACE_BITS * index)
    return signature


@compiled
def _search(context, rows, slot, address, size, state, signature):
    """Row of a block in the table, from a slot on; any signature will do if it is negative."""
    table = numba.carray(pointer(context[HASH_ADDRESS]), (HASH_SLOTS,), numba.int64)
    row = table[slot]
    while row != NO_ROW:
        base = row * ROW_WORDS
        if (
            rows[base + ROW_ADDRESS] == address
            and rows[base + ROW_STATE] == state
            and rows[base + ROW_SIZE] == size
            and (signature < 0 or rows[base + ROW_SIGNATURE] == signature)
        ):
            return row
        slot = (slot + 1) & (HASH_SLOTS - 1)
        row = table[slot]
    return NO_ROW


@compiled
def _find_row(context, engine, rows, guess, address, size, state):
    """Row of a block; Python makes a missing one. NO_ROW if Python wants a stop.

    `guess` is the row that followed last time, or NO_ROW. Rows of one block differ by signature,
    and which registers make it can be read off any of them.
    """
    # A block can start at the same place with another size after code was patched.
    row = guess
    if row != NO_ROW and rows[row * ROW_WORDS + ROW_SIZE] != size:
        row = NO_ROW
    if row == NO_ROW:
        row = _search(context, rows, hash_slot(address, state, 0), address, size, state, -1)
    if row != NO_ROW:
        base = row * ROW_WORDS
        if rows[base + ROW_BASES] == 0:
            return row
        signature = _signature(context, engine, rows, base)
        if rows[base + ROW_SIGNATURE] == signature:
            return row
        slot = hash_slot(address, state, signature)
        row = _search(context, rows, slot, address, size, state, signature)
        if row != NO_ROW:
            return row
    return call_3(context[RESOLVE], address, size, state)


@compiled
def _predict(context, rows, base, taken):
    """Let the branch predictor learn, and charge it for a wrong guess."""
    table = numba.carray(pointer(context[PREDICTOR_ADDRESS]), (PREDICTOR_ENTRIES,), numba.int64)
    entry = rows[base + ROW_PREDICTOR]
    counter = table[entry]
    if taken != (counter >= 2):
        context[CYCLES] += rows[base + ROW_MISPREDICT]
        rows[base + ROW_EXTRA_BRANCH] += rows[base + ROW_MISPREDICT]
    if taken:
        table[entry] = min(counter + 1, 3)
    else:
        table[entry] = max(counter - 1, 0)


@compiled
def _follow_call(context, rows, row, target):
    """The block of a row has been left for `target`: a call, a return, or just a jump."""
    ends = numba.carray(pointer(context[ENDS_ADDRESS]), (MAX_ROWS,), numba.int64)
    if ends[row] != END_PLAIN:
        tree = numba.carray(pointer(context[CALLS]), (1 << 40,), numba.int64)
        base = row * ROW_WORDS
        end_address = rows[base + ROW_ADDRESS] + rows[base + ROW_SIZE]
        follow(tree, ends[row], end_address, target, context[CYCLES])


@compiled
def _is_suspect(context, engine, rows, base):
    """Whether a register that a block checks on entry is not what it should be."""
    for index in range(ROW_CHECKS):
        check = rows[base + ROW_FIRST_CHECK + index]
        if check == NO_CHECK:
            return False
        if (read_register(context[REG_READ], engine, check >> 2) + check) & 3 != 0:
            return True
    return False


@compiled
def _passes(condition, nzcv):
    """Whether a condition (0 is EQ, 13 is LE) holds for the flags N, Z, C, V."""
    n = (nzcv >> 3) & 1
    z = (nzcv >> 2) & 1
    c = (nzcv >> 1) & 1
    v = nzcv & 1
    pair = condition >> 1
    if pair == 0:
        holds = z == 1
    elif pair == 1:
        holds = c == 1
    elif pair == 2:
        holds = n == 1
    elif pair == 3:
        holds = v == 1
    elif pair == 4:
        holds = c == 1 and z == 0
    elif pair == 5:
        holds = n == v
    else:
        holds = n == v and z == 0
    return holds == (condition & 1 == 0)


@callback(_BLOCK_HOOK)
def block_hook(engine, address, size, user_data):
    """UC_HOOK_BLOCK: `user_data` is the context."""
    context = numba.carray(user_data, (SIZE,))
    if context[MUTED] != 0:
        return
    address = numba.int64(address)
    size = numba.int64(size)
    rows = numba.carray(pointer(context[ROWS_ADDRESS]), (1 << 40,), numba.int64)
    previous = context[ROW]
    base = previous * ROW_WORDS
    guess = NO_ROW
    follows = False
    if previous != NO_ROW:
        context[INSTRUCTIONS] += rows[base + ROW_INSTRUCTIONS]
        follows = address == rows[base + ROW_ADDRESS] + rows[base + ROW_SIZE]
        if follows:
            context[CYCLES] += rows[base + ROW_CYCLES_NEXT]
            rows[base + ROW_COUNT_NEXT] += 1
            state = rows[base + ROW_EXIT_NEXT]
            guess = rows[base + ROW_NEXT]
        else:
            context[CYCLES] += rows[base + ROW_CYCLES_TAKEN]
            rows[base + ROW_COUNT_TAKEN] += 1
            state = rows[base + ROW_EXIT_TAKEN]
            if rows[base + ROW_TAKEN_ADDRESS] == address:
                guess = rows[base + ROW_TAKEN]
        if rows[base + ROW_MISPREDICT] != 0:
            _predict(context, rows, base, not follows)
        if context[CALLS] != 0 and not follows:
            _follow_call(context, rows, previous, address)
    else:
        state = context[STATE]

    if context[CYCLES] >= context[LIMIT]:
        context[ROW] = NO_ROW
        context[STATE] = state
        context[STOP] = STOP_LIMIT
        call_1(context[EMU_STOP], engine)
        return

    row = _find_row(context, engine, rows, guess, address, size, state)
    if row == NO_ROW:
        context[ROW] = NO_ROW
        context[STATE] = state
        call_1(context[EMU_STOP], engine)
        return
    # Resolving may have emptied the table, and the previous row with it.
    if row != guess and previous != NO_ROW and context[ROW] == previous:
        if follows:
            rows[base + ROW_NEXT] = row
        else:
            rows[base + ROW_TAKEN] = row
            rows[base + ROW_TAKEN_ADDRESS] = address
    if (row != previous or rows[row * ROW_WORDS + ROW_CHECKS_KEPT] == 0) and _is_suspect(
        context, engine, rows, row * ROW_WORDS
    ):
        context[ROW] = NO_ROW
        context[STATE] = state
        context[STOP] = STOP_SUSPECT
        context[STOP_ADDRESS] = address
        call_1(context[EMU_STOP], engine)
        return
    context[ROW] = row
    if context[CODE_WAITS] != 0:
        enter_block(context, engine, rows, row * ROW_WORDS)


@callback(_BLOCK_HOOK)
def instruction_hook(engine, address, size, user_data):
    """UC_HOOK_CODE on one instruction: `user_data` is its guard (GUARD_WORDS words)."""
    guard = numba.carray(user_data, (GUARD_WORDS,))
    context = numba.carray(pointer(guard[GUARD_CONTEXT]), (SIZE,), numba.int64)
    kind = guard[0]
    if guard[1] != ALWAYS:
        flags = read_register(context[REG_READ], engine, UC_ARM_REG_XPSR)
        if not _passes(guard[1], flags >> 28):
            return
    if kind == GUARD_DIVIDE:
        dividend = read_register(context[REG_READ], engine, guard[2])
        divisor = read_register(context[REG_READ], engine, guard[3])
        if divisor != 0 or context[DIVIDE_TRAPS] == 0:
            extra = _extra_divide_cycles(dividend, divisor, guard[4] != 0, guard[5], guard[6])
            context[CYCLES] += extra
            if context[ROW] != NO_ROW:
                rows = numba.carray(pointer(context[ROWS_ADDRESS]), (1 << 40,), numba.int64)
                rows[context[ROW] * ROW_WORDS + ROW_EXTRA_DIVIDE] += extra
            return
        context[STOP] = STOP_DIVIDE_BY_ZERO
    elif kind == GUARD_ALIGNED_BASE:
        if read_register(context[REG_READ], engine, guard[2]) & 3 == 0:
            return
        context[STOP] = STOP_UNALIGNED
    elif kind == GUARD_BREAKPOINT:
        context[STOP] = STOP_BREAKPOINT
    else:
        context[STOP] = STOP_NO_FPU
    context[STOP_ADDRESS] = numba.int64(address)
    call_1(context[EMU_STOP], engine)
