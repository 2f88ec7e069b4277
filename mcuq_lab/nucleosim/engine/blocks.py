"""The table of costed blocks: the block hook reads it, Python fills it at each new block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcuq_lab.nucleosim.engine import context as layout
from mcuq_lab.nucleosim.engine.hooks import hash_slot
from mcuq_lab.nucleosim.timing import BlockCost, TimingModel


def instruction_count(code: bytes) -> int:
    """Thumb instructions in `code` (16 or 32 bits each)."""
    count = offset = 0
    while offset < len(code):
        offset += instruction_size(code, offset)
        count += 1
    return count


def instruction_size(code: bytes, offset: int) -> int:
    """Bytes of the Thumb instruction at `offset`: 4 if its first halfword says so, else 2."""
    return 4 if offset + 1 < len(code) and code[offset + 1] >= 0xE8 else 2


class BlockTable:
    """Costs of blocks by (address, entry state), in arrays at fixed addresses."""

    def __init__(self, timing: TimingModel, read_code: Callable[[int, int], bytes]) -> None:
        self._timing = timing
        self._read_code = read_code
        self._rows = np.zeros(layout.MAX_ROWS * layout.ROW_WORDS, dtype=np.int64)
        self._hash = np.full(layout.HASH_SLOTS, layout.NO_ROW, dtype=np.int64)
        self._count = 0
        self._memo: dict[tuple[int, bytes, int], BlockCost] = {}
        self.code_of_blocks: dict[int, bytes] = {}
        """Code of each block that has a row, by address."""

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
            self.code_of_blocks.clear()

    def cost(self, address: int, code: bytes, state: int) -> BlockCost:
        """Cost of `code` from the timing model, memoised."""
        key = (address, code, state)
        cost = self._memo.get(key)
        if cost is None:
            cost = self._memo[key] = self._timing.block_cost(address, code, state)
        return cost

    def add(self, address: int, size: int, state: int) -> tuple[int, bytes, BlockCost]:
        """Make the row of a block that is met for the first time: (row, code, cost)."""
        code = self._read_code(address, size)
        cost = self.cost(address, code, state)
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
            0,
        )
        slot = int(hash_slot(address, state))
        while self._hash[slot] != layout.NO_ROW:
            slot = (slot + 1) & (layout.HASH_SLOTS - 1)
        self._hash[slot] = row
        self.code_of_blocks[address] = code
        return row, code, cost

    def block_of(self, row: int) -> tuple[int, int, int]:
        """(address, size, entry state) of a row."""
        base = row * layout.ROW_WORDS
        address, size, state = self._rows[base : base + 3].tolist()
        return address, size, state
