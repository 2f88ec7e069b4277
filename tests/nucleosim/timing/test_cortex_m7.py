"""What must hold of the Cortex-M7 model whatever the numbers are."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcuq_lab.nucleosim.timing import Memory, Place, TimingModel, timing_model
from mcuq_lab.nucleosim.timing.benchmark import load_sequences
from mcuq_lab.nucleosim.timing.cortex_m7 import CortexM7
from mcuq_lab.nucleosim.timing.decode import instructions
from mcuq_lab.nucleosim.timing.states import STATE_LIMIT
from tests.support.calls import count_calls

NOP = bytes.fromhex("00bf")
NOP_WIDE = bytes.fromhex("aff30080")
BX_LR = bytes.fromhex("7047")
BACK = bytes.fromhex("fee7")  # b .
BNE_BACK = bytes.fromhex("fed1")  # bne .
BNE_FORWARD = bytes.fromhex("02d1")
IT_EQ = bytes.fromhex("08bf")
UDIV = bytes.fromhex("b1fbf2f0")  # udiv r0, r1, r2
LOAD = bytes.fromhex("d1f80000")  # ldr.w r0, [r1]
LOAD_NEXT = bytes.fromhex("d1f80420")  # ldr.w r2, [r1, #4]
LOAD_OTHER = bytes.fromhex("d3f80020")  # ldr.w r2, [r3]
SUBS = bytes.fromhex("013a")  # subs r2, #1

STRAIGHT = [s.code for s in load_sequences() if s.kind == "straight"]


@pytest.fixture
def model() -> TimingModel:
    return timing_model("cortex-m7")


def pieces(code: bytes) -> list[bytes]:
    """The single instructions of `code`."""
    return [encoding for _, encoding, _ in instructions(code)]


def test_model_names_itself(model: TimingModel) -> None:
    assert model.name == "cortex-m7"
    assert model.version
    assert "%" in model.uncertainty


@settings(max_examples=200, deadline=None)
@given(
    sequences=st.lists(st.sampled_from(STRAIGHT), min_size=1, max_size=12),
    address=st.sampled_from((0x100, 0x102, 0x104, 0x106)),
    cuts=st.sets(st.integers(1, 60)),
)
def test_cost_does_not_depend_on_where_the_code_is_cut(
    sequences: list[bytes], address: int, cuts: set[int]
) -> None:
    model = CortexM7()
    code = b"".join(sequences)
    whole = model.block_cost(address, code, model.initial_state)
    cycles, state, block = 0, model.initial_state, b""
    causes = [0] * len(whole.causes_fallthrough)
    for n, instruction in enumerate([*pieces(code), b""]):
        if n in cuts or not instruction:
            cost = model.block_cost(address, block, state)
            cycles, state = cycles + cost.cycles_fallthrough, cost.exit_fallthrough
            causes = [a + b for a, b in zip(causes, cost.causes_fallthrough, strict=True)]
            address, block = address + len(block), b""
        block += instruction
    assert cycles == whole.cycles_fallthrough
    assert tuple(causes) == whole.causes_fallthrough
    assert state == whole.exit_fallthrough


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 3))
@example(bytes.fromhex("00ef500c"), 0)  # vfma.f32 q0, q0, q0: of a core with vectors
def test_any_bytes_have_a_cost_and_every_cycle_a_cause(code: bytes, halfwords: int) -> None:
    model = CortexM7()
    cost = model.block_cost(0x0800_0000 + 2 * halfwords, code, model.initial_state)
    assert sum(cost.causes_fallthrough) == cost.cycles_fallthrough
    if cost.cycles_taken != cost.cycles_fallthrough:
        assert sum(cost.causes_taken) == cost.cycles_taken
    assert 0 <= cost.exit_fallthrough < STATE_LIMIT
    assert 0 <= cost.exit_taken < STATE_LIMIT


def test_two_instructions_issue_in_a_cycle_and_a_cut_leaves_the_slot_open(
    model: TimingModel,
) -> None:
    pair = model.block_cost(0, NOP * 2, model.initial_state)
    assert pair.cycles_fallthrough == 1
    first = model.block_cost(0, NOP, model.initial_state)
    second = model.block_cost(2, NOP, first.exit_fallthrough)
    assert (first.cycles_fallthrough, second.cycles_fallthrough) == (1, 0)
    assert model.block_cost(0, b"", model.initial_state).cycles_fallthrough == 0


def test_a_conditional_branch_is_predicted_by_its_direction(model: TimingModel) -> None:
    back = model.block_cost(0, NOP * 4 + BNE_BACK, model.initial_state)
    forward = model.block_cost(0, NOP * 4 + BNE_FORWARD, model.initial_state)
    assert back.first_prediction >= 2 > forward.first_prediction
    assert back.mispredict_cycles == forward.mispredict_cycles > 0


def test_flags_far_ahead_of_a_branch_shorten_a_wrong_prediction(model: TimingModel) -> None:
    near = model.block_cost(0, NOP * 8 + SUBS + BNE_BACK, model.initial_state)
    far = model.block_cost(0, SUBS + NOP * 8 + BNE_BACK, model.initial_state)
    assert (near.mispredict_cycles, far.mispredict_cycles) == (8, 6)


def test_a_branch_that_is_always_taken_is_so_even_to_the_next_address(model: TimingModel) -> None:
    cost = model.block_cost(0, NOP + BACK, model.initial_state)
    assert cost.cycles_fallthrough == cost.cycles_taken
    assert cost.exit_fallthrough == cost.exit_taken
    assert (cost.mispredict_cycles, cost.first_prediction) == (0, 3)


def test_a_branch_under_it_may_fall_through_wherever_the_block_was_cut(model: TimingModel) -> None:
    whole = model.block_cost(0, NOP + IT_EQ + BX_LR, model.initial_state)
    assert whole.exit_fallthrough != whole.exit_taken
    head = model.block_cost(0, NOP + IT_EQ, model.initial_state)
    tail = model.block_cost(4, BX_LR, head.exit_fallthrough)
    assert head.cycles_fallthrough + tail.cycles_fallthrough == whole.cycles_fallthrough
    assert tail.exit_taken == whole.exit_taken


def test_banks_follow_from_the_places_of_the_base_registers(model: TimingModel) -> None:
    def cycles(code: bytes, *places: Place) -> int:
        return model.block_cost(0, code, model.initial_state, places).cycles_fallthrough

    same, other = (Place(3, residue, Memory.TCM) for residue in (0, 4))
    base = Place(1, 0, Memory.TCM)
    assert model.bases(LOAD + LOAD_OTHER) == (1, 3)
    assert cycles(LOAD + LOAD_NEXT, base) == 1
    assert cycles(LOAD + LOAD_OTHER, base, same) == 2
    assert cycles(LOAD + LOAD_OTHER, base, other) == 1


def test_an_unaligned_load_costs_more(model: TimingModel) -> None:
    aligned, crooked = (
        model.block_cost(0, LOAD, model.initial_state, (Place(1, residue, Memory.TCM),))
        for residue in (4, 5)
    )
    assert crooked.cycles_fallthrough - aligned.cycles_fallthrough == 3


def test_division_is_listed_with_its_registers_and_address(model: TimingModel) -> None:
    cost = model.block_cost(0x0800_0002, NOP + UDIV, model.initial_state)
    (division,) = cost.dynamic
    assert (division.address, division.signed) == (0x0800_0004, False)
    assert (division.dividend_register, division.divisor_register) == (1, 2)
    elsewhere = model.block_cost(0x0800_100A, NOP + UDIV, model.initial_state)
    assert elsewhere.dynamic[0].address == 0x0800_100C


def test_a_full_table_of_states_still_counts() -> None:
    """With room for one state every block starts afresh: no crash, stalls at most are lost."""
    small = CortexM7(state_limit=1)
    full = CortexM7()
    for code in STRAIGHT:
        cost = small.block_cost(0, code, small.initial_state)
        assert cost.exit_fallthrough == small.initial_state
        exact = full.block_cost(0, code, full.initial_state)
        assert cost.cycles_fallthrough == exact.cycles_fallthrough


@pytest.mark.parametrize("n_instructions", [30, 60])
def test_a_new_block_costs_at_most_50_calls_an_instruction(n_instructions: int) -> None:
    """Below a millisecond for 30 instructions, and no more for each of a longer block."""
    code = (NOP_WIDE + NOP + bytes.fromhex("0868")) * (n_instructions // 3)
    CortexM7().block_cost(0, code, 0)  # decoding is cached by encoding: once in a program's life
    model = CortexM7()
    calls = count_calls(lambda: model.block_cost(0, code, model.initial_state))
    assert calls < 50 * n_instructions
