"""What runs on a machine, kept beyond the block table: it is emptied more often than one thinks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mcuq_lab.nucleosim.engine.calls import CallTree
from mcuq_lab.nucleosim.timing import Place


@dataclass(frozen=True)
class Block:
    """What a row speaks of: code at an address, entered in a pipeline state with these places."""

    address: int
    size_bytes: int
    state: int
    places: tuple[Place, ...]


@dataclass(frozen=True)
class BlockCount:
    """How often a block ran since it was met, and the cycles that came on top of its cost.

    A part of a block that ran (up to a stop, or a single step) is a block of its own.
    """

    block: Block
    code: bytes
    count_fallthrough: int
    count_taken: int
    extra_divide_cycles: int = 0
    extra_branch_cycles: int = 0
    extra_code_cycles: int = 0
    extra_data_cycles: int = 0


class Recording:
    """All cycles of a machine from `first_cycle` on, by block and by path of calls.

    Attributes:
        outside_cycles: cycles in which no instruction ran: entry and return of exceptions, sleep.
        calls: the tree of calls.
    """

    def __init__(self, entries: Collection[int], address: int, cycles: int) -> None:
        """Begin at an address and cycle; `entries` are as for `CallTree`."""
        self.first_cycle = cycles
        self.outside_cycles = 0
        self.calls = CallTree(entries, address, cycles)
        self._counts: dict[tuple[Block, bytes], tuple[int, ...]] = {}

    def add(self, count: BlockCount) -> None:
        """Add a count to what is known of its block."""
        key = (count.block, count.code)
        more = (
            count.count_fallthrough,
            count.count_taken,
            count.extra_divide_cycles,
            count.extra_branch_cycles,
            count.extra_code_cycles,
            count.extra_data_cycles,
        )
        known = self._counts.get(key)
        if known is not None:
            more = tuple(a + b for a, b in zip(known, more, strict=True))
        self._counts[key] = more

    def add_part(self, count: BlockCount, target: int, cycles: int) -> None:
        """Add what ran once, unseen by the block hook; `target` is where it went on, and when."""
        self.add(count)
        if count.count_taken:
            address, end_address = count.block.address, count.block.address + len(count.code)
            self.calls.follow(self.calls.end_of(address, count.code), end_address, target, cycles)

    def outside(self, cycles: int) -> None:
        """Cycles have passed in which no instruction ran."""
        self.outside_cycles += cycles
        self.calls.skip(cycles)

    def counts(self) -> tuple[BlockCount, ...]:
        """What has been added so far, each block once."""
        return tuple(BlockCount(*key, *known) for key, known in self._counts.items())
