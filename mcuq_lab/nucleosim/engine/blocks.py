"""The table of costed blocks: the block hook reads it, Python fills it at each new block."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from mcuq_lab.nucleosim.engine import context as layout
from mcuq_lab.nucleosim.engine.alignment import EntryChecks, entry_checks
from mcuq_lab.nucleosim.engine.guards import register_id
from mcuq_lab.nucleosim.engine.hooks import hash_slot
from mcuq_lab.nucleosim.thumb import instruction_count
from mcuq_lab.nucleosim.timing import BlockCost, TimingModel

_PAGE_BYTES = 1024


@lru_cache(maxsize=1 << 14)
def _checks(code: bytes) -> EntryChecks:
    checks = entry_checks(code)
    too_many = len(checks.registers) > layout.ROW_CHECKS
    return EntryChecks((), all_known=False, kept=False) if too_many else checks


class BlockTable:
    """Costs of blocks by (address, entry state), in arrays at fixed addresses."""

    def __init__(self, timing: TimingModel, read_code: Callable[[int, int], bytes]) -> None:
        self._timing = timing
        self._read_code = read_code
        self._rows = np.zeros(layout.MAX_ROWS * layout.ROW_WORDS, dtype=np.int64)
        self._hash = np.full(layout.HASH_SLOTS, layout.NO_ROW, dtype=np.int64)
        self._count = 0
        # Not shared between boards: state numbers have a meaning to one timing model only.
        self._memo: dict[tuple[int, bytes, int], BlockCost] = {}
        self._code: dict[int, bytes] = {}
        self._pages: set[int] = set()

    @property
    def rows_address(self) -> int:
        """Host address of the rows."""
        return self._rows.ctypes.data

    @property
    def hash_address(self) -> int:
        """Host address of the hash table."""
        return self._hash.ctypes.data

    @property
    def is_full(self) -> bool:
        """Whether no further row fits."""
        return self._count == layout.MAX_ROWS

    def clear(self) -> None:
        """Forget every row. Costs themselves are kept: they depend on code, not on where it ran."""
        if self._count:
            self._hash[:] = layout.NO_ROW
            self._count = 0
            self._code.clear()
            self._pages.clear()

    def cost(self, address: int, code: bytes, state: int) -> BlockCost:
        """Cost of `code` from the timing model, memoised."""
        key = (address, code, state)
        cost = self._memo.get(key)
        if cost is None:
            cost = self._memo[key] = self._timing.block_cost(address, code, state)
        return cost

    def checks(self, code: bytes) -> EntryChecks:
        """What to look at when a block is entered, memoised. At most two registers."""
        return _checks(code)

    def add(self, address: int, code: bytes, state: int, checks: EntryChecks) -> int:
        """Make the row of a block that is met for the first time."""
        size = len(code)
        cost = self.cost(address, code, state)
        registers = [register_id(number) << 2 | offset for number, offset in checks.registers]
        registers += [layout.NO_CHECK] * (layout.ROW_CHECKS - len(registers))
        row = self._count
        self._count += 1
        base = row * layout.ROW_WORDS
        self._rows[base : base + layout.ROW_WORDS] = (
            address,
            size,
            state,
            instruction_count(code),
            cost.cycles_fallthrough,
            cost.exit_fallthrough,
            cost.cycles_taken,
            cost.exit_taken,
            layout.NO_ROW,
            layout.NO_ROW,
            0,
            int(checks.kept),
            *registers,
        )
        slot = int(hash_slot(address, state))
        while self._hash[slot] != layout.NO_ROW:
            slot = (slot + 1) & (layout.HASH_SLOTS - 1)
        self._hash[slot] = row
        self._code[address] = code
        self._pages.update(range(address // _PAGE_BYTES, (address + size - 1) // _PAGE_BYTES + 1))
        return row

    def has_code_in(self, start: int, end: int) -> bool:
        """Whether a block may lie in a range of addresses [start, end)."""
        first, last = start // _PAGE_BYTES, (end - 1) // _PAGE_BYTES
        if last - first > len(self._pages):
            return any(first <= page <= last for page in self._pages)
        return any(page in self._pages for page in range(first, last + 1))

    def is_stale(self) -> bool:
        """Whether the code of a block is not in memory any more."""
        return any(
            self._read_code(address, len(code)) != code for address, code in self._code.items()
        )

    def block_of(self, row: int) -> tuple[int, int, int]:
        """(address, size, entry state) of a row."""
        base = row * layout.ROW_WORDS
        address, size, state = self._rows[base : base + 3].tolist()
        return address, size, state
