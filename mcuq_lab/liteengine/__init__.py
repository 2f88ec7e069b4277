"""LiteEngine: from a quantized network to specialised C with packed operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcuq_lab.liteengine.codegen import ENGINE_NAME, generate_sources
from mcuq_lab.liteengine.kernels import FAMILIES, GENERIC_FAMILIES
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.memory import ArenaPlan
from mcuq_lab.liteengine.plan import Buffer, Plan, Step, plan
from mcuq_lab.liteengine.schedule import Family, kernel_key
from mcuq_lab.liteengine.strips import Strips, in_strips
from mcuq_lab.liteengine.tuning import Trial, batches, measure_batch, trial_sources, trials, tune
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.sources import Sources
from mcuq_lab.target import DEFAULT_TARGET, Target

__all__ = [
    "ENGINE_NAME",
    "FAMILIES",
    "GENERIC_FAMILIES",
    "ArenaPlan",
    "Buffer",
    "Family",
    "Lowered",
    "Plan",
    "Step",
    "Strips",
    "Trial",
    "batches",
    "generate",
    "generate_sources",
    "in_strips",
    "kernel_key",
    "measure_batch",
    "plan",
    "trial_sources",
    "trials",
    "tune",
]


def generate(
    graph: QuantGraph,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> Sources:
    """C sources of a quantized network; arguments and errors as for `plan`."""
    return generate_sources(plan(graph, families, measured_cycles, target))
