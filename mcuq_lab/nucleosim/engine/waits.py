"""Caches and wait states, compiled: cycles that depend on which accesses came before."""

from __future__ import annotations

from collections.abc import Iterable

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
    RAM_WAITS,
    REG_READ,
    ROW,
    ROW_ADDRESS,
    ROW_BASES,
    ROW_CYCLES_NEXT,
    ROW_EXTRA_CODE,
    ROW_EXTRA_DATA,
    ROW_FIRST_BASE,
    ROW_FIRST_LITERAL,
    ROW_FIRST_REACH,
    ROW_LITERALS,
    ROW_SIZE,
    ROW_WORDS,
    ROWS_ADDRESS,
    SIZE,
)
from mcuq_lab.nucleosim.engine.native import pointer, read_register
from mcuq_lab.nucleosim.timing.waits import Cache, CodeWaits, DataWaits

# A cache: geometry, then for each set its newest and oldest entry, then for each entry the slot of
# the line that it holds and its neighbours by age, then a slot for each line of the memories that
# it serves: the entry that holds the line, or 0.
_SET_MASK = 0
_ENTRIES = 1
_NEWEST = 2  # the first set's; newest and oldest of a set lie together
_NONE = 0

# Waits of code
_START = 0
_END = 1
_LINE_SHIFT = 2
_MISS = 3
_PREFETCH = 4  # -1 without
_CACHE = 5  # address, 0 without
_SLOT = 6  # a line's slot in the cache, less its number
_LAST_LINE = 7
_CODE_WORDS = 8
_NO_LINE = -1

# Waits of data
_CONTEXT = 0  # address
_DATA_LINE_SHIFT = 1
_READ_MISS = 2
_WRITE_MISS = 3  # -1: writes do not meet the cache
_DATA_CACHE = 4  # address, 0 without
_DATA_SLOT = 5
_FIRST = 6  # address in the chip, behind its last byte, and in this process
_LAST = 7
_HOST = 8
_DATA_WORDS = 9


@compiled
def hold(cache, line, slot):
    """Whether a cache holds a line; from now on it does, and the set's oldest line is gone."""
    entries = cache[_ENTRIES]
    newest = _NEWEST + 2 * (line & cache[_SET_MASK])
    entry = cache[slot]
    held = entry != _NONE
    if held and entry == cache[newest]:
        return True
    if not held:
        entry = cache[newest + 1]
        if cache[entry] != _NONE:
            cache[cache[entry]] = _NONE
        cache[entry] = slot
        cache[slot] = entry
    # To the front of the list from newest to oldest.
    newer, older = cache[entry + entries], cache[entry + 2 * entries]
    if newer != _NONE:
        cache[newer + 2 * entries] = older
        if older != _NONE:
            cache[older + entries] = newer
        else:
            cache[newest + 1] = newer
        first = cache[newest]
        cache[first + entries] = entry
        cache[entry + entries] = _NONE
        cache[entry + 2 * entries] = first
        cache[newest] = entry
    return held


@compiled
def _holds(address, line, first_slot):
    if address == 0:
        return False
    return hold(numba.carray(pointer(address), (1 << 30,), numba.int64), line, first_slot + line)


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
        if line != previous and not _holds(waits[_CACHE], line, waits[_SLOT]):
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
    line = (waits[_FIRST] + offset) >> waits[_DATA_LINE_SHIFT]
    if _holds(waits[_DATA_CACHE], line, waits[_DATA_SLOT]):
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
        # Code that runs from another memory has its constants there.
        if literal == NO_LITERAL or literal < waits[_FIRST] or literal >= waits[_LAST]:
            return
        _charge(waits, literal - waits[_FIRST], waits[_READ_MISS])


@compiled
def _reach_ram(context, engine, rows, base):
    """Charge a block for the lines of cached RAM that it reaches from its base registers."""
    waits = numba.carray(pointer(context[RAM_WAITS]), (_DATA_WORDS,), numba.int64)
    for index in range(rows[base + ROW_BASES]):
        reach = base + ROW_FIRST_REACH + 3 * index
        value = read_register(context[REG_READ], engine, rows[base + ROW_FIRST_BASE + index])
        at, end = value + rows[reach], value + rows[reach + 1]
        if at < waits[_FIRST] or end > waits[_LAST]:
            continue
        miss = waits[_READ_MISS] if rows[reach + 2] != 0 else max(0, waits[_WRITE_MISS])
        while at < end:
            _charge(waits, at - waits[_FIRST], miss)
            at = ((at >> waits[_DATA_LINE_SHIFT]) + 1) << waits[_DATA_LINE_SHIFT]


@compiled
def enter_block(context, engine, rows, base):
    """The core enters the block of a row: charge it for the lines that are not there."""
    waits = numba.carray(pointer(context[CODE_WAITS]), (_CODE_WORDS,), numba.int64)
    size, cycles = rows[base + ROW_SIZE], rows[base + ROW_CYCLES_NEXT]
    stall = fetch(waits, rows[base + ROW_ADDRESS], size, cycles)
    context[CYCLES] += stall
    rows[base + ROW_EXTRA_CODE] += stall
    if context[LITERAL_WAITS] != 0:
        _load_literals(context, rows, base)
    if context[RAM_WAITS] != 0:
        _reach_ram(context, engine, rows, base)


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


class CacheWords:
    """An empty cache for the memories at some address ranges, as the compiled functions keep it."""

    def __init__(self, cache: Cache, ranges: Iterable[tuple[int, int]]) -> None:
        sets = cache.lines // cache.ways
        tags = _NEWEST + 2 * sets
        slot = tags + 3 * cache.lines
        self.line_bytes = cache.line_bytes
        self._first_slots: dict[int, int] = {}
        for start, end in ranges:
            self._first_slots[start] = slot - start // cache.line_bytes
            slot += (end - start) // cache.line_bytes
        self.words = np.zeros(slot, dtype=np.int64)
        self.words[:_NEWEST] = (sets - 1, cache.lines)
        for index in range(sets):
            first = tags + index * cache.ways
            entries = np.arange(first, first + cache.ways)
            self.words[_NEWEST + 2 * index : _NEWEST + 2 * index + 2] = first, entries[-1]
            self.words[entries[1:] + cache.lines] = entries[:-1]
            self.words[entries[:-1] + 2 * cache.lines] = entries[1:]

    @property
    def address(self) -> int:
        """Where it lies in this process."""
        return self.words.ctypes.data

    def first_slot(self, start: int) -> int:
        """Slot of a line, less the line's number, in the memory that begins at `start`."""
        return self._first_slots[start]


def code_words(code: CodeWaits, cache: CacheWords | None) -> np.ndarray:
    """What `enter_block` and `fetch` take; the caller keeps the cache alive."""
    words = np.zeros(_CODE_WORDS, dtype=np.int64)
    words[:] = (
        code.start,
        code.end,
        code.line_bytes.bit_length() - 1,
        code.miss_cycles,
        -1 if code.prefetch_cycles is None else code.prefetch_cycles,
        0 if cache is None else cache.address,
        0 if cache is None else cache.first_slot(code.start),
        _NO_LINE,
    )
    return words


def data_words(
    context: np.ndarray, cache: CacheWords | None, region: DataWaits, start: int, host_address: int
) -> np.ndarray:
    """What `on_read` and `on_write` take; the caller keeps context and cache alive.

    Args:
        region: the memory, with its waits.
        start: where the part of it begins that the callbacks are to serve.
        host_address: where that part lies in this process.
    """
    words = np.zeros(_DATA_WORDS, dtype=np.int64)
    words[:] = (
        context.ctypes.data,
        0 if cache is None else cache.line_bytes.bit_length() - 1,
        region.read_miss_cycles,
        -1 if region.write_miss_cycles is None else region.write_miss_cycles,
        0 if cache is None else cache.address,
        0 if cache is None else cache.first_slot(region.start),
        start,
        region.end,
        host_address,
    )
    return words
