"""The cycle models there are, by the name of the core."""

from mcuq_lab.nucleosim.timing.cortex_m4 import CortexM4
from mcuq_lab.nucleosim.timing.cost import TimingModel, UnknownCoreError

_MODELS = {CortexM4.name: CortexM4}


def timing_model(core: str) -> TimingModel:
    """A new cycle model of `core` ("cortex-m4"). Raises UnknownCoreError for any other name.

    State numbers belong to the model that gave them out: one model for one run.
    """
    model = _MODELS.get(core)
    if model is None:
        known = ", ".join(sorted(_MODELS))
        raise UnknownCoreError(
            f"no cycle model for core {core!r}; known: {known}. Name one of these in the board."
        )
    return model()
