"""Memories that let the core wait: caches, line buffers, wait states. What they are, as data.

Their cost depends on the accesses before, so no block has a cost of its own: the simulator keeps
the caches and adds the cycles as it goes. Replacement is that of the line used longest ago.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cache:
    """A cache of `lines` lines in sets of `ways`; a fully associative one has one set."""

    lines: int
    line_bytes: int
    ways: int


@dataclass(frozen=True)
class CodeWaits:
    """What fetching code from [start, end) costs beyond a memory that answers at once.

    Attributes:
        line_bytes: read at once; code that stays within a line does not wait again.
        miss_cycles: the core waits so long where it jumps to a line that no cache holds.
        prefetch_cycles: time of reading the next line in advance, of which the core waits for what
            it does not spend in the line before; None without prefetch: each line is a miss.
        cache: asked first; None if there is none or it is off.
    """

    start: int
    end: int
    line_bytes: int
    miss_cycles: int
    prefetch_cycles: int | None
    cache: Cache | None


@dataclass(frozen=True)
class DataWaits:
    """What reading and writing data in [start, end) costs beyond a memory that answers at once.

    Attributes:
        read_miss_cycles: wait where the data cache does not hold the line.
        write_miss_cycles: the same for writes, which bring the line into the cache; None: they
            neither wait nor meet the cache.
    """

    start: int
    end: int
    read_miss_cycles: int
    write_miss_cycles: int | None = None


@dataclass(frozen=True)
class Waits:
    """The memories of a chip, at the clock and with the caches that are set.

    Attributes:
        code, data: each access is seen.
        cached_ram: read and written too often for that: seen are the lines that a block reaches
            from its base registers.
        data_cache: serves both; None if there is none or it is off.
    """

    code: CodeWaits | None = None
    data: tuple[DataWaits, ...] = ()
    cached_ram: DataWaits | None = None
    data_cache: Cache | None = None


NO_WAITS = Waits()
