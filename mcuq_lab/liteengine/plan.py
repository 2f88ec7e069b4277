"""From a quantized network to a plan: a kernel for each operator, a place for each tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mcuq_lab.errors import ModelError
from mcuq_lab.liteengine.footprint import Lifetimes
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.kernels.layout import copied_flatten
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.memory import ArenaPlan, Block, Overlap, plan_arena
from mcuq_lab.liteengine.schedule import Family, kernel_key, schedule
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.target import DEFAULT_TARGET, Target


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
    def predicted_cycles(self) -> int:
        """Sum of the families' own predictions."""
        return sum(step.lowered.predicted_cycles for step in self.steps)


def plan(
    graph: QuantGraph,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> Plan:
    """Chooses kernels and places all tensors.

    Args:
        graph: the quantized network.
        families: kernel families to choose from.
        measured_cycles: cycles on the target by `schedule.kernel_key`, if some were measured.
        target: the core.

    Raises:
        ModelError: an operator that no family computes, or a network without any operator.
    """
    if not graph.ops:
        raise ModelError(f"'{graph.name}' has no operator; give it at least one layer.")
    lowered = schedule(graph, families, measured_cycles, target)
    if not any(way.call for way in lowered):
        lowered = (*lowered[:-1], copied_flatten(graph.ops[-1], graph.tensors))
    work = [(op, way) for op, way in zip(graph.ops, lowered, strict=True) if way.call]
    lives = Lifetimes.of(graph, lowered)
    root, first, last = lives.root, lives.first, lives.last
    names = list(first)
    index = {name: i for i, name in enumerate(names)}
    tensors = [Block(graph.tensors[name].size_bytes, first[name], last[name]) for name in names]
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
            inputs=tuple(graph.tensors[name] for name in op.inputs),
            output=graph.tensors[op.output],
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
    tuned = all(kernel_key(op, graph.tensors, way) in table for op, way in work) if table else False
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
