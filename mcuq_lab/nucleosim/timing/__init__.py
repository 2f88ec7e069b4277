"""Cycle models of processor cores: what one basic block of Thumb code costs.

A model looks at code, never at data: it decodes a block once, walks it through a small pipeline
model from a given entry state, and returns the cycles for both ways out together with the state in
which the pipeline leaves. Costs that depend on operands (division) are listed apart, so that the
caller adds them when it knows the registers.

The cost does not depend on where a run of instructions is cut into blocks. Two things follow:
the caller may split blocks where it likes, and the exact count at an instruction inside a block is
`block_cost(address, code[:offset], entry_state).cycles_fallthrough`.
"""

from mcuq_lab.nucleosim.timing.cost import (
    BlockCost,
    DynamicCost,
    TimingModel,
    UnknownCoreError,
    extra_divide_cycles,
)
from mcuq_lab.nucleosim.timing.models import timing_model

__all__ = [
    "BlockCost",
    "DynamicCost",
    "TimingModel",
    "UnknownCoreError",
    "extra_divide_cycles",
    "timing_model",
]
