"""Steps that are remembered are the steps that the pipeline takes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mcuq_lab.nucleosim.timing import Memory, MemoryTiming, Place, Region
from mcuq_lab.nucleosim.timing.accesses import Whereabouts, literals
from mcuq_lab.nucleosim.timing.cortex_m4 import CortexM4
from mcuq_lab.nucleosim.timing.cortex_m4_pipeline import Issue, State, issue
from mcuq_lab.nucleosim.timing.cortex_m4_steps import Steps
from mcuq_lab.nucleosim.timing.cost import CAUSES
from mcuq_lab.nucleosim.timing.decode import instructions
from mcuq_lab.nucleosim.timing.fetch import refilled

TIMING = MemoryTiming(
    regions=(Region(0x1000_0000, 0x1001_0000, Memory.CCM), Region(0, 0x2000_0000, Memory.FLASH)),
    store_after_load_stall_cycles=(1,) * len(Memory),
)

# Loads and stores of all kinds, IT blocks, branches, the FPU, and whatever else bytes may mean.
_halfwords = st.one_of(
    st.integers(0, 0xFFFF),
    st.integers(0x4800, 0x9FFF),
    st.integers(0xBF00, 0xBFFF),
    st.integers(0xC000, 0xDDFF),
    st.integers(0xE800, 0xF8FF),
)
_codes = st.lists(_halfwords, max_size=24).map(
    lambda words: b"".join(word.to_bytes(2, "little") for word in words)
)
_places = st.lists(
    st.builds(Place, st.integers(0, 14), st.integers(0, 3), st.sampled_from(list(Memory))),
    max_size=5,
    unique_by=lambda place: place.register,
).map(tuple)


def walked(address: int, code: bytes, state: State, places: tuple[Place, ...]):
    """The causes of both ways out of a block and the states behind them, step by step."""
    memory = TIMING.at(address)
    whereabouts = Whereabouts(places, CortexM4.place_mask, memory)
    causes, before, taken = [0] * CAUSES, [0] * CAUSES, None
    for offset, encoding, instruction in instructions(code):
        access = instruction.access
        where = None if access is None else whereabouts.of(access)
        whereabouts.follow(encoding, conditional=state.it_left > 0)
        before, was = list(causes), state
        at = Issue(instruction, address + offset, where, memory)
        state = issue(at, was, TIMING, False, causes)
        taken = (at, was) if instruction.writes_pc else None
    if taken is None:
        return tuple(causes), state, tuple(causes), State(refilled(TIMING, 2))
    jump = issue(*taken, TIMING, True, before)
    if taken[1].it_left == 0 and taken[0].instruction.always_taken:
        return tuple(before), jump, tuple(before), jump
    return tuple(causes), state, tuple(before), jump


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), _codes, _places), max_size=4), st.integers(1, 9))
def test_costs_are_those_of_the_pipeline(blocks, most_steps) -> None:
    model = CortexM4(TIMING)
    model._steps = Steps(TIMING, most_steps)  # forgets between nearly any two blocks
    number = model.initial_state
    for place, code, places in blocks:
        address = 0x0800_0000 + 2 * place
        cost = model.block_cost(address, code, number, places)
        causes, state, taken, jump = walked(address, code, model._states[number], places)
        assert cost.causes_fallthrough == causes
        assert cost.causes_taken == taken
        assert cost.cycles_fallthrough == sum(causes)
        assert cost.cycles_taken == sum(taken)
        assert model._states[cost.exit_fallthrough] == state
        assert model._states[cost.exit_taken] == jump
        number = cost.exit_fallthrough


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 20), _codes)
def test_literals_move_with_the_code(place, code) -> None:
    address = 2 * place
    expected = tuple(
        (address + offset + 4 & ~3) + instruction.access.offset
        for offset, _, instruction in instructions(code)
        if instruction.access is not None
        and instruction.access.base == 15
        and instruction.access.offset is not None
    )
    assert literals(address, code) == expected


def test_the_number_of_steps_is_bounded() -> None:
    steps = Steps(TIMING, most=3)
    stage = steps.stage(State(refilled(TIMING, 2)))
    for register in range(8):
        encoding = (0x1C40 | register).to_bytes(2, "little")  # adds r<n>, r0, #1
        steps.go(stage, encoding, 0, None, Memory.FLASH, taken=False)
    steps.make_room()
    assert steps.stage(stage.state) is not stage
