"""Measured instead of predicted: the cycles of every kernel that could compute a layer.

The engine knows no board. Whoever has one passes a function that runs generated code and gives back
the cycles of its layers; the table that results is for `generate(..., measured_cycles=table)`, and
is good for every network with the same layers on that board.

An image holds many *trials*, each one way to compute one layer, alone at the start of the arena.
None of them computes anything useful: what a kernel takes does not depend on its data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mcuq_lab.errors import NumericsError
from mcuq_lab.graph import Shape
from mcuq_lab.liteengine.codegen import generate_sources
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.memory import ALIGNMENT_BYTES, ArenaPlan, aligned
from mcuq_lab.liteengine.plan import Plan, Step
from mcuq_lab.liteengine.schedule import Family, candidates, kernel_key
from mcuq_lab.liteengine.strip_choice import scheduled, with_strip_family
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.sources import Sources
from mcuq_lab.target import DEFAULT_TARGET, Target

WORTH_TRYING = 1.5
"""Ways that are predicted to take more than this times the best one's cycles are not measured."""

IMAGE_TRIALS = 48
IMAGE_FLASH_BYTES = 256 << 10

_KERNEL_BYTES = 4096  # of a kernel, generously

# Input and output of an image of trials: what no trial touches.
_PROBE = QTensor("probe", Shape(1, 1, ALIGNMENT_BYTES), 8, 1.0, 0)


@dataclass(frozen=True, eq=False)
class Trial:
    """One way to compute one operator, whose cycles are not known yet.

    Attributes:
        key: `kernel_key` of the call.
        op, way: the operator and its kernel call.
        inputs, output: its tensors.
    """

    key: str
    op: QOp
    way: Lowered
    inputs: tuple[QTensor, ...]
    output: QTensor

    @property
    def arena_bytes(self) -> int:
        """Tensors and scratch side by side."""
        sizes = (*(tensor.size_bytes for tensor in (*self.inputs, self.output)),)
        return sum(map(aligned, (*sizes, self.way.scratch_bytes)))


def trials(
    graph: QuantGraph,
    known: Mapping[str, int],
    families: Sequence[Family] = FAMILIES,
    target: Target = DEFAULT_TARGET,
    worth_trying: float = WORTH_TRYING,
) -> tuple[Trial, ...]:
    """The ways to compute the operators of `graph` that should be measured next, each key once.

    These are the ways near the best prediction, any that is predicted to be faster than all
    measured ones, and what is chosen now, which may be another way where the arena is small; so
    when there are none left, every operator's way is a measured one. Layers that run in strips, as
    things stand, are tried both by themselves and in strips.

    Raises:
        ModelError, FitError: as `plan`.
    """
    found: dict[str, Trial] = {}
    network, lowered = scheduled(graph, families, known, target, None)
    chosen = {
        kernel_key(op, network.tensors, way)
        for op, way in zip(network.ops, lowered, strict=True)
        if way.call
    }
    all_families = with_strip_family(families)
    for op in dict.fromkeys((*graph.ops, *network.ops)):
        ways = [
            (kernel_key(op, network.tensors, way), way)
            for way in candidates(op, network.tensors, all_families, target)
            if way.call
        ]
        predicted = [way.predicted_cycles for _, way in ways if way.predicted_cycles]
        measured = [known[key] for key, _ in ways if key in known]
        limit = max(worth_trying * min(predicted, default=0), min(measured, default=0))
        for key, way in ways:
            tried = way.predicted_cycles <= limit or key in chosen
            if key not in known and tried:
                inputs = tuple(network.tensors[name] for name in op.inputs)
                found.setdefault(key, Trial(key, op, way, inputs, network.tensors[op.output]))
    return tuple(found.values())


def trial_sources(batch: Sequence[Trial], name: str = "trials") -> Sources:
    """One image of these trials: `layers` are theirs, in their order."""
    tensors, steps, places = {_PROBE.name: _PROBE}, [], {_PROBE.name: 0}
    for number, trial in enumerate(batch):
        step, offsets = _step(number, trial)
        tensors |= getattr(trial.op, "tensors", {})  # of layers in strips
        tensors |= {tensor.name: tensor for tensor in (*step.inputs, step.output)}
        steps.append(step)
        places |= offsets
    total = _PROBE.size_bytes + max(trial.arena_bytes for trial in batch)
    graph = QuantGraph(name, Policy(()), tensors, (), _PROBE.name, _PROBE.name)
    arena = ArenaPlan((), total, total, "trials")
    return generate_sources(Plan(graph, tuple(steps), arena, (), places))


def tune(
    graph: QuantGraph,
    measure: Callable[[Sources], Sequence[int]],
    families: Sequence[Family] = FAMILIES,
    known: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
    worth_trying: float = WORTH_TRYING,
) -> dict[str, int]:
    """Cycles by `kernel_key` of every way worth trying to compute the operators of `graph`.

    Args:
        graph: the network.
        measure: runs generated code once; cycles of each of its `layers`, in their order.
        families: kernel families to try.
        known: what was measured before; it is not measured again.
        target: the core.
        worth_trying: see `trials`.

    Returns:
        `known` and what was measured.

    Raises:
        NumericsError: `measure` gave another number of layers than there are.
    """
    table = dict(known or {})
    while left := trials(graph, table, families, target, worth_trying):
        for batch in batches(left):
            table |= measure_batch(batch, measure)
    return table


def measure_batch(
    batch: Sequence[Trial], measure: Callable[[Sources], Sequence[int]]
) -> dict[str, int]:
    """Cycles by `kernel_key` of the trials of one image; arguments and errors as for `tune`."""
    cycles = measure(trial_sources(batch))
    if len(cycles) != len(batch):
        raise NumericsError(
            f"Measuring {len(batch)} layers gave the cycles of {len(cycles)}; "
            "give the cycles of every layer."
        )
    return {trial.key: int(count) for trial, count in zip(batch, cycles, strict=True)}


def batches(left: Sequence[Trial]) -> Iterator[tuple[Trial, ...]]:
    """Trials by image, in their order: as many as one image should hold."""
    batch: list[Trial] = []
    for trial in left:
        if batch and (
            image_flash_bytes((*batch, trial)) > IMAGE_FLASH_BYTES or len(batch) == IMAGE_TRIALS
        ):
            yield tuple(batch)
            batch = []
        batch.append(trial)
    if batch:
        yield tuple(batch)


def image_flash_bytes(batch: Sequence[Trial]) -> int:
    """Upper estimate of constants and code, which trials of one kernel share."""
    kernels = {trial.way.kernel for trial in batch}
    return sum(trial.way.weights_bytes for trial in batch) + _KERNEL_BYTES * len(kernels)


def _step(number: int, trial: Trial) -> tuple[Step, dict[str, int]]:
    """A trial as a step under names of its own, and the offsets of its tensors."""
    label = f"trial{number}"
    inputs = tuple(replace(tensor, name=f"{label}_in{i}") for i, tensor in enumerate(trial.inputs))
    output = replace(trial.output, name=f"{label}_out")
    op = replace(
        trial.op, name=label, inputs=tuple(tensor.name for tensor in inputs), output=output.name
    )
    offsets, end = {}, _PROBE.size_bytes
    for tensor in (*inputs, output):
        offsets[tensor.name] = end
        end += aligned(tensor.size_bytes)
    step = Step(
        op=op,
        lowered=trial.way,
        inputs=inputs,
        output=output,
        in_offsets=tuple(offsets[tensor.name] for tensor in inputs),
        out_offset=offsets[output.name],
        scratch_offset=end,
        live_bytes=trial.arena_bytes,
    )
    return step, offsets
