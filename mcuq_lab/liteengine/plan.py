"""From a quantized network to a plan: a kernel for each operator, a place for each tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mcuq_lab.errors import FitError, ModelError
from mcuq_lab.liteengine.footprint import Lifetimes
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.kernels.layout import copied_flatten
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.memory import ArenaPlan, Block, Overlap, plan_arena
from mcuq_lab.liteengine.schedule import Family, kernel_key
from mcuq_lab.liteengine.strip_choice import scheduled
from mcuq_lab.liteengine.strip_lowering import FRAME_BYTES
from mcuq_lab.liteengine.strips import Strips, parts
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.target import DEFAULT_TARGET, Target

_MOST_ATTEMPTS = 4


@dataclass(frozen=True)
class Buffer:
    """A place in the arena and the steps in which it is in use, both included; `kind` is `tensor`
    or `scratch`. A table of buffers draws the arena over time."""

    name: str
    kind: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    last_step: int


@dataclass(frozen=True, eq=False)
class Step:
    """One operator that computes something.

    Attributes:
        op: the operator.
        lowered: its kernel call.
        inputs: its input tensors; output: its output tensor.
        in_offsets: where in the arena the inputs lie; out_offset, scratch_offset likewise.
        live_bytes: bytes of all tensors and scratch in use while it runs.
    """

    op: QOp
    lowered: Lowered
    inputs: tuple[QTensor, ...]
    output: QTensor
    in_offsets: tuple[int, ...]
    out_offset: int
    scratch_offset: int
    live_bytes: int

    def macs(self, graph: QuantGraph) -> int:
        """Multiply-accumulates of one inference."""
        return sum(map(graph.macs, parts(self.op)))


@dataclass(frozen=True, eq=False)
class Plan:
    """A network ready for code generation.

    Attributes:
        graph: the quantized network.
        steps: in execution order; operators that only rename a tensor have none.
        arena: the memory plan.
        buffers: what lies in the arena and when; a scratch buffer has the name of its operator.
        tensor_offsets: where each tensor of the graph lies, in bytes from the arena's start.
        schedule: `tuned` where the cycles of every kernel were measured, else `predicted`.
    """

    graph: QuantGraph
    steps: tuple[Step, ...]
    arena: ArenaPlan
    buffers: tuple[Buffer, ...]
    tensor_offsets: Mapping[str, int]
    schedule: str = "predicted"

    @property
    def arena_bytes(self) -> int:
        return self.arena.total_bytes

    @property
    def scratch_bytes(self) -> int:
        """Largest scratch of any step."""
        return max(step.lowered.scratch_bytes for step in self.steps)

    @property
    def memory_bytes(self) -> int:
        """Peak SRAM up to what (nearly) all networks take: arena, and the stack of strips."""
        in_strips = any(isinstance(step.op, Strips) for step in self.steps)
        return self.arena_bytes + (FRAME_BYTES if in_strips else 0)

    @property
    def predicted_cycles(self) -> int:
        """Sum of the families' own predictions."""
        return sum(step.lowered.predicted_cycles for step in self.steps)


def plan(
    graph: QuantGraph,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
    strips: Strips | None = None,
) -> Plan:
    """Chooses kernels and places all tensors.

    Some layers run strip by strip if the target's arena demands it, if that saves bytes and costs
    next to nothing, or if asked for.

    Args:
        graph: the quantized network.
        families: kernel families to choose from.
        measured_cycles: cycles on the target by `schedule.kernel_key`, if some were measured.
        target: the core, and its budgets.
        strips: neighbouring operators as one, from `in_strips`; None: as the budgets demand.

    Raises:
        ModelError: an operator that no family computes, or a network without any operator.
        FitError: no choice of kernels fits a budget, not even in strips.
    """
    if not graph.ops:
        raise ModelError(f"'{graph.name}' has no operator; give it at least one layer.")
    budget, asked = target.arena_bytes, target
    for attempt in range(_MOST_ATTEMPTS):
        try:
            planned = _placed(graph, families, measured_cycles, asked, strips)
        except FitError:
            if attempt == 0:
                raise
            break
        over = 0 if budget is None else planned.arena_bytes - budget
        if over <= 0:
            return planned
        # Blocks that fit by their sizes may leave gaps where they lie.
        asked = replace(asked, arena_bytes=asked.arena_bytes - over)
    raise FitError(
        f"'{graph.name}' ({graph.policy}) takes {budget + over:,} bytes of arena with the gaps "
        f"between its tensors, {over:,} more than the budget of {budget:,}. Lower activation bits, "
        "or allow a larger arena.",
        memory="sram",
        overflow_bytes=over,
    )


def _placed(
    graph: QuantGraph,
    families: Sequence[Family],
    measured_cycles: Mapping[str, int] | None,
    target: Target,
    strips: Strips | None,
) -> Plan:
    """Kernels whose blocks, side by side, fit the arena, and the smallest arena for them."""
    network, lowered = scheduled(graph, families, measured_cycles, target, strips)
    if not any(way.call for way in lowered):
        lowered = (*lowered[:-1], copied_flatten(graph.ops[-1], graph.tensors))
    work = [(op, way) for op, way in zip(network.ops, lowered, strict=True) if way.call]
    lives = Lifetimes.of(network, lowered)
    root, first, last = lives.root, lives.first, lives.last
    names = list(first)
    index = {name: i for i, name in enumerate(names)}
    tensors = [Block(network.tensors[name].size_bytes, first[name], last[name]) for name in names]
    scratch = [Block(way.scratch_bytes, step, step) for step, (_, way) in enumerate(work)]
    shareable = tuple(
        (index[root[op.inputs[i]]], index[root[op.output]])
        for step, (op, way) in enumerate(work)
        for i in way.in_place
        if last[root[op.inputs[i]]] == step
    )
    overlaps = tuple(
        Overlap(index[root[op.inputs[ahead.index]]], index[root[op.output]], ahead.lead_bytes)
        for step, (op, way) in enumerate(work)
        for ahead in way.ahead
        if last[root[op.inputs[ahead.index]]] == step
    )
    blocks = (*tensors, *scratch)
    arena = plan_arena(blocks, tuple(dict.fromkeys(shareable)), overlaps)
    at = {name: arena.offsets[index[source]] for name, source in root.items()}
    steps = tuple(
        Step(
            op=op,
            lowered=way,
            inputs=tuple(network.tensors[name] for name in op.inputs),
            output=network.tensors[op.output],
            in_offsets=tuple(at[name] for name in op.inputs),
            out_offset=at[op.output],
            scratch_offset=arena.offsets[len(names) + step],
            live_bytes=_live_bytes(blocks, arena.offsets, step),
        )
        for step, (op, way) in enumerate(work)
    )
    labels = [(name, "tensor") for name in names] + [(op.name, "scratch") for op, _ in work]
    buffers = tuple(
        Buffer(*label, offset, block.size_bytes, block.first, block.last)
        for label, offset, block in zip(labels, arena.offsets, blocks, strict=True)
        if block.size_bytes
    )
    table = measured_cycles or {}
    keys = (kernel_key(op, network.tensors, way) for op, way in work)
    tuned = all(key in table for key in keys) if table else False
    return Plan(graph, steps, arena, buffers, at, "tuned" if tuned else "predicted")


def _live_bytes(blocks: Sequence[Block], offsets: Sequence[int], step: int) -> int:
    """Bytes of the arena that some block uses at `step`; what two blocks share counts once."""
    spans = sorted(
        (offset, offset + block.size_bytes)
        for block, offset in zip(blocks, offsets, strict=True)
        if block.first <= step <= block.last
    )
    total = end = 0
    for start, stop in spans:
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total
