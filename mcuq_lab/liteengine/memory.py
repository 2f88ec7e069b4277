"""The arena: where every tensor and every scratch buffer lies, in as few bytes as possible.

A block lives from the operator that writes it to the last one that reads it; blocks that live at
the same time must not overlap, except that an output may lie over its input where the kernel allows
it and nobody reads the input later: at its very address, or beginning some bytes in front of it.

A greedy placement comes first. Where it meets the lower bound it is optimal, which is the usual
case; else CP-SAT searches, with a fixed seed and a limit in deterministic time, so that equal
problems give equal plans on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

ALIGNMENT_BYTES = 8
_SOLVER_LIMIT = 2.0  # deterministic seconds, roughly a second each
_SOLVER_SEED = 1


@dataclass(frozen=True)
class Block:
    """`size_bytes` of arena, in use while operators `first` to `last` (both included) run."""

    size_bytes: int
    first: int
    last: int

    def meets(self, other: Block) -> bool:
        """Whether both are in use at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Overlap:
    """Block `output` may overlap block `source` if it begins at least `lead_bytes` in front of it.

    Negative: at most as many bytes behind it. They must meet in one operator only: the source's
    last, the output's first.
    """

    source: int
    output: int
    lead_bytes: int


@dataclass(frozen=True)
class ArenaPlan:
    """Where the blocks lie.

    Attributes:
        offsets: bytes from the start of the arena, one for each block, multiples of 8.
        total_bytes: size of the arena.
        lower_bound_bytes: no plan for these blocks is smaller.
        method: `greedy`, `cp-sat`, or `greedy, cp-sat found no better`.
    """

    offsets: tuple[int, ...]
    total_bytes: int
    lower_bound_bytes: int
    method: str

    @property
    def optimal(self) -> bool:
        """Whether the plan is known to be the smallest."""
        return self.total_bytes == self.lower_bound_bytes


@lru_cache(maxsize=1024)
def plan_arena(
    blocks: tuple[Block, ...],
    shareable: tuple[tuple[int, int], ...],
    overlaps: tuple[Overlap, ...] = (),
) -> ArenaPlan:
    """The smallest arena for `blocks`.

    Args:
        blocks: the blocks; sizes of 0 take no place.
        shareable: pairs (input, output) of indices into `blocks` that may have the same offset.
            They must meet in one operator only: the input's last, the output's first.
        overlaps: pairs that may overlap at some distance.
    """
    blocks = tuple(Block(aligned(b.size_bytes), b.first, b.last) for b in blocks)
    leads = {(o.source, o.output): aligned(o.lead_bytes) for o in overlaps}
    bound = lower_bound_bytes(blocks, shareable, overlaps)
    offsets = _greedy(blocks, shareable, leads, bound)
    total = _total(blocks, offsets)
    if total == bound:
        return ArenaPlan(offsets, total, bound, "greedy")
    found, proven = _solve(blocks, shareable, leads, bound, total)
    bound = max(bound, proven)
    if found is None:
        return ArenaPlan(offsets, total, bound, "greedy, cp-sat found no better")
    return ArenaPlan(found, _total(blocks, found), bound, "cp-sat")


def lower_bound_bytes(
    blocks: Sequence[Block],
    shareable: Sequence[tuple[int, int]] = (),
    overlaps: Sequence[Overlap] = (),
) -> int:
    """What the blocks of the fullest operator need."""
    leads = dict.fromkeys(shareable, 0)
    leads |= {
        (o.source, o.output): min(aligned(o.lead_bytes), leads.get((o.source, o.output), 1 << 62))
        for o in overlaps
    }
    sizes = [aligned(block.size_bytes) for block in blocks]
    largest = 0
    for step in range(max((block.last for block in blocks), default=-1) + 1):
        live = sum(size for size, b in zip(sizes, blocks, strict=True) if b.first <= step <= b.last)
        # An output may lie over two inputs, one at either end; inputs do not overlap each other.
        saved: dict[int, int] = {}
        for (source, output), lead in leads.items():
            if blocks[output].first == step:
                shared = shared_bytes(sizes[source], sizes[output], max(lead, 0))
                saved[output] = min(sizes[output], saved.get(output, 0) + shared)
        largest = max(largest, live - sum(saved.values()))
    return largest


def shared_bytes(source_bytes: int, output_bytes: int, lead_bytes: int) -> int:
    """Bytes that an output and its input share at most, if it begins so many in front of it."""
    return max(0, min(output_bytes - lead_bytes, source_bytes))


def aligned(size_bytes: int) -> int:
    """The next multiple of the alignment of blocks."""
    return (size_bytes + ALIGNMENT_BYTES - 1) // ALIGNMENT_BYTES * ALIGNMENT_BYTES


def _total(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    return max((o + b.size_bytes for o, b in zip(offsets, blocks, strict=True)), default=0)


def _greedy(
    blocks: Sequence[Block],
    shareable: Sequence[tuple[int, int]],
    leads: Mapping[tuple[int, int], int],
    bound: int,
) -> tuple[int, ...]:
    """Best of first-fit placements in several orders, with and without sharing."""
    fullest = _fullest_step(blocks)
    equal = [*shareable, *(pair for pair, lead in leads.items() if lead <= 0)]
    best: tuple[int, ...] = ()
    for groups in (_chains(blocks, equal), tuple((i,) for i in range(len(blocks)))):
        orders = (
            lambda g: (-max(blocks[i].size_bytes for i in g), g[0]),
            lambda g: (-sum(_area(blocks[i]) for i in g), g[0]),
            lambda g: (_distance(blocks, g, fullest), -sum(_area(blocks[i]) for i in g), g[0]),
        )
        for order in orders:
            offsets = _first_fit(blocks, sorted(groups, key=order), leads)
            if not best or _total(blocks, offsets) < _total(blocks, best):
                best = offsets
            if _total(blocks, best) == bound:
                return best
    return best


def _fullest_step(blocks: Sequence[Block]) -> int:
    steps = range(max((block.last for block in blocks), default=0) + 1)
    return max(
        steps, key=lambda t: (sum(b.size_bytes for b in blocks if b.first <= t <= b.last), -t)
    )


def _distance(blocks: Sequence[Block], group: Sequence[int], step: int) -> int:
    """Operators between `step` and the time of the nearest block of a group."""
    return min(max(blocks[i].first - step, step - blocks[i].last, 0) for i in group)


def _area(block: Block) -> int:
    return block.size_bytes * (block.last - block.first + 1)


def _chains(
    blocks: Sequence[Block], shareable: Sequence[tuple[int, int]]
) -> tuple[tuple[int, ...], ...]:
    """Blocks in groups of one offset: each output joins its largest shareable input."""
    joined: dict[int, int] = {}
    for source, output in shareable:
        known = joined.get(output)
        if known is None or blocks[source].size_bytes > blocks[known].size_bytes:
            joined[output] = source
    chains: dict[int, list[int]] = {}
    head: dict[int, int] = {}
    for index in sorted(range(len(blocks)), key=lambda i: (blocks[i].first, i)):
        source = joined.get(index)
        head[index] = index if source is None else head[source]
        chains.setdefault(head[index], []).append(index)
    return tuple(tuple(chain) for chain in chains.values())


def _first_fit(
    blocks: Sequence[Block],
    groups: Sequence[tuple[int, ...]],
    leads: Mapping[tuple[int, int], int],
) -> tuple[int, ...]:
    offsets: dict[int, int] = {}
    for group in groups:
        walls = [
            _forbidden(blocks, index, placed, at, leads)
            for placed, at in offsets.items()
            for index in group
            if blocks[placed].meets(blocks[index])
        ]
        tried = sorted({0, *(end for _, end in walls if end > 0)})
        offset = next(o for o in tried if not any(start < o < end for start, end in walls))
        offsets |= dict.fromkeys(group, offset)
    return tuple(offsets[index] for index in range(len(blocks)))


def _forbidden(
    blocks: Sequence[Block],
    index: int,
    placed: int,
    at: int,
    leads: Mapping[tuple[int, int], int],
) -> tuple[int, int]:
    """The open interval in which block `index` must not begin, as block `placed` lies at `at`."""
    start, end = at - blocks[index].size_bytes, at + blocks[placed].size_bytes
    if not (blocks[index].size_bytes and blocks[placed].size_bytes):
        return start, start
    if (index, placed) in leads:  # a source, whose output has its place
        end = min(end, at + leads[index, placed])
    if (placed, index) in leads:
        start = max(start, at - leads[placed, index])
    return start, max(start, end)


def _solve(
    blocks: Sequence[Block],
    shareable: Sequence[tuple[int, int]],
    leads: Mapping[tuple[int, int], int],
    bound: int,
    known: int,
) -> tuple[tuple[int, ...] | None, int]:
    """Offsets of a plan smaller than `known` bytes or None, and a proven lower bound."""
    from ortools.sat.python import cp_model  # slow to import, and rarely needed

    unit = ALIGNMENT_BYTES
    model = cp_model.CpModel()
    sizes = [block.size_bytes // unit for block in blocks]
    top = (known - 1) // unit
    if any(size > top for size in sizes):
        return None, known
    at = [model.new_int_var(0, top - size, f"at{i}") for i, size in enumerate(sizes)]
    height = model.new_int_var(bound // unit, top, "height")
    for offset, size in zip(at, sizes, strict=True):
        model.add(offset + size <= height)
    pairs = set(shareable)
    for i in range(len(blocks)):
        for j in range(i + 1, len(blocks)):
            if not (sizes[i] and sizes[j] and blocks[i].meets(blocks[j])):
                continue
            below, above = model.new_bool_var(""), model.new_bool_var("")
            model.add(at[i] + sizes[i] <= at[j]).only_enforce_if(below)
            model.add(at[j] + sizes[j] <= at[i]).only_enforce_if(above)
            choices = [below, above]
            if (i, j) in pairs or (j, i) in pairs:
                same = model.new_bool_var("")
                model.add(at[i] == at[j]).only_enforce_if(same)
                choices.append(same)
            for source, output in ((i, j), (j, i)):
                if (source, output) in leads:
                    ahead = model.new_bool_var("")
                    lead = leads[source, output] // unit
                    model.add(at[source] - at[output] >= lead).only_enforce_if(ahead)
                    choices.append(ahead)
            model.add_bool_or(choices)
    model.minimize(height)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = _SOLVER_SEED
    solver.parameters.max_deterministic_time = _SOLVER_LIMIT
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return None, known
    proven = int(solver.best_objective_bound) * unit
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return tuple(solver.value(offset) * unit for offset in at), proven
    return None, proven
