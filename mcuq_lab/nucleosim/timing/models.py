"""The cycle models there are, by the name of the core."""

from mcuq_lab.nucleosim.timing.cost import BlockCost, TimingModel, UnknownCoreError


class _OneCycleEach:
    """One cycle an instruction: a place-holder while the Cortex-M4 model is being built."""

    name = "one-cycle"
    version = "0"
    uncertainty = "Counts instructions, not cycles."
    initial_state = 0

    def block_cost(self, address: int, code: bytes, entry_state: int) -> BlockCost:
        count = 0
        offset = 0
        while offset + 1 < len(code):
            offset += 4 if code[offset + 1] >= 0xE8 else 2
            count += 1
        return BlockCost(count, 0, count, 0)


def timing_model(core: str) -> TimingModel:
    """The cycle model of `core` ("cortex-m4"). Raises UnknownCoreError for any other name."""
    if core != "cortex-m4":
        raise UnknownCoreError(
            f"no cycle model for core {core!r}; known: 'cortex-m4'. Name one of these in the board."
        )
    return _OneCycleEach()
