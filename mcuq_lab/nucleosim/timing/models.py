"""The cycle models there are, by the name of the core."""

from mcuq_lab.nucleosim.timing.cortex_m4 import CortexM4
from mcuq_lab.nucleosim.timing.cortex_m7 import CortexM7
from mcuq_lab.nucleosim.timing.cost import TimingModel, UnknownCoreError
from mcuq_lab.nucleosim.timing.memory import ZERO_WAIT_STATES, MemoryTiming

_MODELS = {model.name: model for model in (CortexM4, CortexM7)}


def timing_model(core: str, memory: MemoryTiming = ZERO_WAIT_STATES) -> TimingModel:
    """A new cycle model of `core` ("cortex-m4", "cortex-m7") with its memories.

    State numbers belong to the model that gave them out: one model for one run.

    Raises:
        UnknownCoreError: there is no model of such a core.
    """
    model = _MODELS.get(core)
    if model is None:
        known = ", ".join(sorted(_MODELS))
        raise UnknownCoreError(
            f"no cycle model for core {core!r}; known: {known}. Name one of these in the board."
        )
    return model(memory)
