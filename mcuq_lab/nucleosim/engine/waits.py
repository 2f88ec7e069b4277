"""Caches and wait states, compiled: cycles that depend on which accesses came before."""

from __future__ import annotations

import numba
import numpy as np
from numba import types

from mcuq_lab.nucleosim.engine.compiled import callback, compiled
from mcuq_lab.nucleosim.engine.context import (
    CODE_WAITS,
    CYCLES,
    LITERAL_WAITS,
    NO_LITERAL,
    NO_ROW,
    ROW,
    ROW_ADDRESS,
    ROW_CYCLES_NEXT,
    ROW_EXTRA_CODE,
    ROW_EXTRA_DATA,
    ROW_FIRST_LITERAL,
    ROW_LITERALS,
    ROW_SIZE,
    ROW_WORDS,
    ROWS_ADDRESS,
    SIZE,
)
from mcuq_lab.nucleosim.engine.native import pointer
from mcuq_lab.nucleosim.timing.waits import Cache, CodeWaits

# A cache: set mask, ways, number of entries, time; where lines were found last; tags; times of use.
_SET_MASK = 0
_WAYS = 1
_ENTRIES = 2
_TIME = 3
_HINTS = 4
_HINT_MASK = 1023
_TAGS = _HINTS + _HINT_MASK + 1
_NO_LINE = -1

# Waits of code
_START = 0
_END = 1
_LINE_SHIFT = 2
_MISS = 3
_PREFETCH = 4  # -1 without
_CACHE = 5  # address, 0 without
_LAST_LINE = 6
_CODE_WORDS = 7

# Waits of data
_CONTEXT = 0  # address
_DATA_LINE_SHIFT = 1
_READ_MISS = 2
_WRITE_MISS = 3  # -1: writes do not meet the cache
_DATA_CACHE = 4  # address, 0 without
_FIRST = 5  # address in the chip, and in this process
_HOST = 6
_DATA_WORDS = 7


@compiled
def hold(cache, line):
    """Whether a cache holds a line; from now on it does."""
    cache[_TIME] += 1
    entries = cache[_ENTRIES]
    hint = _HINTS + (line & _HINT_MASK)
    at = cache[hint]
    if cache[at] == line:
        cache[at + entries] = cache[_TIME]
        return True
    first = _TAGS + (line & cache[_SET_MASK]) * cache[_WAYS]
    oldest = first
    for at in range(first, first + cache[_WAYS]):
        if cache[at] == line:
            cache[hint] = at
            cache[at + entries] = cache[_TIME]
            return True
        if cache[at + entries] < cache[oldest + entries]:
            oldest = at
    cache[oldest] = line
    cache[oldest + entries] = cache[_TIME]
    cache[hint] = oldest
    return False


@compiled
def _holds(address, line):
    return address != 0 and hold(numba.carray(pointer(address), (1 << 30,), numba.int64), line)


@compiled
def fetch(waits, address, size, cycles):
    """Cycles that the core waits for `size` bytes of code, which it spends `cycles` in."""
    if address < waits[_START] or address >= waits[_END]:
        waits[_LAST_LINE] = _NO_LINE
        return 0
    shift = waits[_LINE_SHIFT]
    line = address >> shift
    last = (address + size - 1) >> shift
    previous = waits[_LAST_LINE]
    stall = 0
    while line <= last:
        if line != previous and not _holds(waits[_CACHE], line):
            if line == previous + 1 and waits[_PREFETCH] >= 0:
                # The time spent in the line before: its share of the cycles.
                stall += max(0, waits[_PREFETCH] - (cycles << shift) // size)
            else:
                stall += waits[_MISS]
        previous = line
        line += 1
    waits[_LAST_LINE] = last
    return stall


@compiled
def _charge(waits, offset, miss):
    """Charge an access if its line is not there."""
    if _holds(waits[_DATA_CACHE], (waits[_FIRST] + offset) >> waits[_DATA_LINE_SHIFT]):
        return
    context = numba.carray(pointer(waits[_CONTEXT]), (SIZE,), numba.int64)
    context[CYCLES] += miss
    if context[ROW] != NO_ROW:
        rows = numba.carray(pointer(context[ROWS_ADDRESS]), (1 << 40,), numba.int64)
        rows[context[ROW] * ROW_WORDS + ROW_EXTRA_DATA] += miss


@compiled
def _load_literals(context, rows, base):
    """Charge a block for the constants that it loads: the page of code is no device."""
    waits = numba.carray(pointer(context[LITERAL_WAITS]), (_DATA_WORDS,), numba.int64)
    for index in range(ROW_LITERALS):
        literal = rows[base + ROW_FIRST_LITERAL + index]
        if literal == NO_LITERAL:
            return
        _charge(waits, literal - waits[_FIRST], waits[_READ_MISS])


@compiled
def enter_block(context, rows, base):
    """The core enters the block of a row: charge it for the lines that are not there."""
    waits = numba.carray(pointer(context[CODE_WAITS]), (_CODE_WORDS,), numba.int64)
    size, cycles = rows[base + ROW_SIZE], rows[base + ROW_CYCLES_NEXT]
    stall = fetch(waits, rows[base + ROW_ADDRESS], size, cycles)
    context[CYCLES] += stall
    rows[base + ROW_EXTRA_CODE] += stall
    if context[LITERAL_WAITS] != 0:
        _load_literals(context, rows, base)


@callback(types.uint64(types.int64, types.uint64, types.uint32, types.CPointer(types.int64)))
def on_read(_engine, offset, size, user_data):
    """A read by the core: `user_data` is what `data_words` made."""
    waits = numba.carray(user_data, (_DATA_WORDS,))
    offset = numba.int64(offset)
    _charge(waits, offset, waits[_READ_MISS])
    at = waits[_HOST] + offset
    if size == 4:
        return numba.uint64(numba.carray(pointer(at), (1,), numba.uint32)[0])
    if size == 2:
        return numba.uint64(numba.carray(pointer(at), (1,), numba.uint16)[0])
    return numba.uint64(numba.carray(pointer(at), (1,), numba.uint8)[0])


@callback(
    types.void(types.int64, types.uint64, types.uint32, types.uint64, types.CPointer(types.int64)),
)
def on_write(_engine, offset, size, value, user_data):
    """A write by the core to RAM."""
    waits = numba.carray(user_data, (_DATA_WORDS,))
    offset = numba.int64(offset)
    if waits[_WRITE_MISS] >= 0:
        _charge(waits, offset, waits[_WRITE_MISS])
    at = waits[_HOST] + offset
    if size == 4:
        numba.carray(pointer(at), (1,), numba.uint32)[0] = value
    elif size == 2:
        numba.carray(pointer(at), (1,), numba.uint16)[0] = value
    else:
        numba.carray(pointer(at), (1,), numba.uint8)[0] = value


def cache_words(cache: Cache) -> np.ndarray:
    """An empty cache."""
    words = np.full(_TAGS + 2 * cache.lines, _NO_LINE, dtype=np.int64)
    words[[_SET_MASK, _WAYS, _ENTRIES, _TIME]] = (
        cache.lines // cache.ways - 1,
        cache.ways,
        cache.lines,
        0,
    )
    words[_HINTS:_TAGS] = _TAGS
    return words


def code_words(code: CodeWaits, cache: np.ndarray | None) -> np.ndarray:
    """What `enter_block` and `fetch` take; the caller keeps the cache alive."""
    words = np.zeros(_CODE_WORDS, dtype=np.int64)
    words[:] = (
        code.start,
        code.end,
        code.line_bytes.bit_length() - 1,
        code.miss_cycles,
        -1 if code.prefetch_cycles is None else code.prefetch_cycles,
        0 if cache is None else cache.ctypes.data,
        _NO_LINE,
    )
    return words


def data_words(
    context: np.ndarray,
    cache: np.ndarray | None,
    line_bytes: int,
    miss_cycles: tuple[int, int | None],
    start: int,
    host_address: int,
) -> np.ndarray:
    """What `on_read` and `on_write` take; the caller keeps context and cache alive.

    `miss_cycles` are those of reads and of writes, as in `DataWaits`.
    """
    read, write = miss_cycles
    words = np.zeros(_DATA_WORDS, dtype=np.int64)
    words[:] = (
        context.ctypes.data,
        line_bytes.bit_length() - 1,
        read,
        -1 if write is None else write,
        0 if cache is None else cache.ctypes.data,
        start,
        host_address,
    )
    return words
