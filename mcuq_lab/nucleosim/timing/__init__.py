"""Cycle models of processor cores: what one basic block of Thumb code costs.

A model looks at code, never at data: it decodes a block once, walks it through a small pipeline
model from a given entry state, and returns the cycles for both ways out together with the state in
which the pipeline leaves. Of data it asks only where a few registers point on entry of the block
(`Place`): aligned or not, which bank, which kind of memory. Costs that depend on operands
(division) are listed apart, so that the caller adds them when it knows the registers; costs that
depend on the history of accesses (caches, wait states) are the caller's.

The cost does not depend on where a run of instructions is cut into blocks. Two things follow:
the caller may split blocks where it likes, and the cycle in which a single-cycle or load
instruction inside a block starts, its own stalls before it included, is
`block_cost(address, code[:end of it], entry_state).cycles_fallthrough - 1`.
"""

from mcuq_lab.nucleosim.timing.benchmark import BenchmarkRow, benchmark_rows
from mcuq_lab.nucleosim.timing.cost import (
    CAUSES,
    MOST_BASES,
    BlockCost,
    Cause,
    DynamicCost,
    Place,
    TimingModel,
    UnknownCoreError,
    extra_divide_cycles,
)
from mcuq_lab.nucleosim.timing.memory import Memory, MemoryTiming, Region
from mcuq_lab.nucleosim.timing.models import timing_model

__all__ = [
    "CAUSES",
    "MOST_BASES",
    "BenchmarkRow",
    "BlockCost",
    "Cause",
    "DynamicCost",
    "Memory",
    "MemoryTiming",
    "Place",
    "Region",
    "TimingModel",
    "UnknownCoreError",
    "benchmark_rows",
    "extra_divide_cycles",
    "timing_model",
]
