"""The table of costed blocks: the block hook reads it, Python fills it at each new block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np

from mcuq_lab.nucleosim.engine import context as layout
from mcuq_lab.nucleosim.engine.alignment import EntryChecks, entry_checks
from mcuq_lab.nucleosim.engine.guards import register_id
from mcuq_lab.nucleosim.engine.hooks import hash_slot
from mcuq_lab.nucleosim.engine.recording import Block, BlockCount, Recording
from mcuq_lab.nucleosim.thumb import instruction_count
from mcuq_lab.nucleosim.timing import BlockCost, Memory, Place, TimingModel
from mcuq_lab.nucleosim.timing.accesses import literals, reaches

_PAGE_BYTES = 1024
_MOST_MEMOS = 1 << 14


@lru_cache(maxsize=1 << 14)
def _checks(code: bytes) -> EntryChecks:
    checks = entry_checks(code)
    too_many = len(checks.registers) > layout.ROW_CHECKS
    return EntryChecks((), all_known=False, kept=False) if too_many else checks


class BlockTable:
    """Costs of blocks by (address, entry state, signature), in arrays at fixed addresses."""

    def __init__(self, timing: TimingModel, read_code: Callable[[int, int], bytes]) -> None:
        self._timing = timing
        self._read_code = read_code
        self._rows = np.zeros(layout.MAX_ROWS * layout.ROW_WORDS, dtype=np.int64)
        self._hash = np.full(layout.HASH_SLOTS, layout.NO_ROW, dtype=np.int64)
        self._ends = np.zeros(layout.MAX_ROWS, dtype=np.int64)
        self._count = 0
        self.recording: Recording | None = None
        """Told of the counts before the table is emptied; None: they are lost."""
        self._predictor = np.zeros(layout.PREDICTOR_ENTRIES, dtype=np.int64)
        self._predicted: set[int] = set()
        # Not shared between boards: state numbers have a meaning to one timing model only.
        # Emptied with the table once they are long: most of what a new image needs is not in them.
        self._memo: dict[tuple[int, bytes, int, tuple[Place, ...]], BlockCost] = {}
        self._bases: dict[bytes, tuple[int, ...]] = {}
        self._places: list[tuple[Place, ...]] = []
        self._codes: list[bytes] = []
        self._known_code: set[tuple[int, bytes]] = set()
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
    def predictor_address(self) -> int:
        """Host address of the branch predictor's counters."""
        return self._predictor.ctypes.data

    @property
    def ends_address(self) -> int:
        """Host address of what each row's block does to the stack of calls (while recording)."""
        return self._ends.ctypes.data

    @property
    def is_full(self) -> bool:
        """Whether no further row fits."""
        return self._count == layout.MAX_ROWS

    def clear(self) -> None:
        """Forget every row. Costs themselves are kept: they depend on code, not on where it ran."""
        if len(self._memo) > _MOST_MEMOS:
            self._memo.clear()
        if len(self._bases) > _MOST_MEMOS:
            self._bases.clear()
        if self._count:
            if self.recording is not None:
                for count in self.counts():
                    self.recording.add(count)
            self._hash[:] = layout.NO_ROW
            self._count = 0
            self._places.clear()
            self._codes.clear()
            self._known_code.clear()
            self._pages.clear()

    def cost(
        self, address: int, code: bytes, state: int, places: tuple[Place, ...] = ()
    ) -> BlockCost:
        """Cost of `code` from the timing model, memoised."""
        key = (address, code, state, places)
        cost = self._memo.get(key)
        if cost is None:
            cost = self._memo[key] = self._timing.block_cost(address, code, state, places)
        return cost

    def bases(self, code: bytes) -> tuple[int, ...]:
        """Registers whose places decide the cost of `code`, memoised."""
        bases = self._bases.get(code)
        if bases is None:
            bases = self._bases[code] = self._timing.bases(code)
        return bases

    def checks(self, code: bytes) -> EntryChecks:
        """What to look at when a block is entered, memoised. At most two registers."""
        return _checks(code)

    def add(
        self, address: int, code: bytes, state: int, places: tuple[Place, ...], checks: EntryChecks
    ) -> int:
        """Make the row of a block that is met for the first time with these places."""
        size = len(code)
        cost = self.cost(address, code, state, places)
        signature = signature_of(places)
        checked = [register_id(number) << 2 | offset for number, offset in checks.registers]
        checked += [layout.NO_CHECK] * (layout.ROW_CHECKS - len(checked))
        bases = [register_id(place.register) for place in places]
        row = self._count
        self._count += 1
        words = [0] * layout.ROW_WORDS
        words[: layout.ROW_FIRST_BASE] = (
            address,
            size,
            state,
            signature,
            instruction_count(code),
            cost.cycles_fallthrough,
            cost.exit_fallthrough,
            cost.cycles_taken,
            cost.exit_taken,
            layout.NO_ROW,
            layout.NO_ROW,
            0,
            cost.mispredict_cycles,
            self._predictor_entry(address + size, cost),
            int(checks.kept),
            *checked,
            len(bases),
        )
        words[layout.ROW_FIRST_BASE : layout.ROW_FIRST_BASE + len(bases)] = bases
        if any(place.memory is Memory.AXI for place in places):  # no other RAM is cached
            reached = reaches(code, tuple(place.register for place in places))
            for index, reach in enumerate(reached):
                at = layout.ROW_FIRST_REACH + 3 * index
                words[at : at + 3] = reach.start, reach.end, int(reach.loads)
        constants = literals(address, code)[: layout.ROW_LITERALS]
        missing = layout.ROW_LITERALS - len(constants)
        first = layout.ROW_FIRST_LITERAL
        words[first : layout.ROW_COUNT_NEXT] = (*constants, *[layout.NO_LITERAL] * missing)
        self._rows[row * layout.ROW_WORDS : (row + 1) * layout.ROW_WORDS] = words
        # Found by any signature first, whose bases then tell which signature to look for.
        self._enter(row, hash_slot(address, state, 0))
        if signature:
            self._enter(row, hash_slot(address, state, signature))
        self._places.append(places)
        self._codes.append(code)
        self._known_code.add((address, code))
        if self.recording is not None:
            self._ends[row] = self.recording.calls.end_of(address, code)
        self._pages.update(range(address // _PAGE_BYTES, (address + size - 1) // _PAGE_BYTES + 1))
        return row

    def _enter(self, row: int, slot: int) -> None:
        slot = int(slot)
        while self._hash[slot] != layout.NO_ROW:
            slot = (slot + 1) & (layout.HASH_SLOTS - 1)
        self._hash[slot] = row

    def _predictor_entry(self, end: int, cost: BlockCost) -> int:
        """The predictor's entry for the branch that ends at an address; it starts as it should."""
        entry = end // 2 % layout.PREDICTOR_ENTRIES
        if cost.mispredict_cycles and entry not in self._predicted:
            self._predicted.add(entry)
            self._predictor[entry] = cost.first_prediction
        return entry

    def forget_branches(self) -> None:
        """A reset empties the branch predictor; rows learn again where its entries start."""
        self.clear()
        self._predicted.clear()

    def predict(self, end: int, cost: BlockCost, taken: bool) -> int:
        """Let the predictor learn from the branch that ends at an address; cycles of a wrong guess.

        The block hook does the same for blocks, this is for single steps.
        """
        if not cost.mispredict_cycles:
            return 0
        entry = self._predictor_entry(end, cost)
        counter = int(self._predictor[entry])
        self._predictor[entry] = min(counter + 1, 3) if taken else max(counter - 1, 0)
        return cost.mispredict_cycles if taken != (counter >= 2) else 0

    def has_code_in(self, start: int, end: int) -> bool:
        """Whether a block may lie in a range of addresses [start, end)."""
        first, last = start // _PAGE_BYTES, (end - 1) // _PAGE_BYTES
        if last - first > len(self._pages):
            return any(first <= page <= last for page in self._pages)
        return any(page in self._pages for page in range(first, last + 1))

    def is_stale(self) -> bool:
        """Whether the code of a block is not in memory any more."""
        return any(
            self._read_code(address, len(code)) != code for address, code in self._known_code
        )

    def block_of(self, row: int) -> Block:
        """The block of a row."""
        base = row * layout.ROW_WORDS
        address, size, state = self._rows[base : base + 3].tolist()
        return Block(address, size, state, self._places[row])

    def counts(self) -> Iterator[BlockCount]:
        """What the hooks have counted for every row that ran."""
        first, words = layout.ROW_COUNT_NEXT, layout.ROW_WORDS
        for row in range(self._count):
            counted = self._rows[row * words + first : (row + 1) * words].tolist()
            if any(counted):
                yield BlockCount(self.block_of(row), self._codes[row], *counted)


def signature_of(places: tuple[Place, ...]) -> int:
    """The places as the hooks put them into one word."""
    return sum(
        (place.memory << layout.RESIDUE_BITS | place.residue) << layout.PLACE_BITS * index
        for index, place in enumerate(places)
    )
