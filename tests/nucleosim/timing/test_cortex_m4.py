"""What must hold of the Cortex-M4 model whatever the numbers are."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcuq_lab.nucleosim.timing import (
    MOST_BASES,
    Cause,
    Memory,
    MemoryTiming,
    Place,
    Region,
    TimingModel,
    UnknownCoreError,
    extra_divide_cycles,
    timing_model,
)
from mcuq_lab.nucleosim.timing.addresses import Origins
from mcuq_lab.nucleosim.timing.benchmark import load_sequences
from mcuq_lab.nucleosim.timing.cortex_m4 import CortexM4
from mcuq_lab.nucleosim.timing.decode import instructions, is_wide
from mcuq_lab.nucleosim.timing.states import STATE_LIMIT
from tests.support.calls import count_calls

NOP = bytes.fromhex("00bf")
BX_LR = bytes.fromhex("7047")
POP_PC = bytes.fromhex("10bd")  # pop {r4, pc}
WIDE = bytes.fromhex("41eb0200")  # adc.w r0, r1, r2
BACK = bytes.fromhex("fee7")  # b .
BNE_BACK = bytes.fromhex("fed1")  # bne .
IT_EQ = bytes.fromhex("08bf")
UDIV = bytes.fromhex("b1fbf2f0")  # udiv r0, r1, r2
SDIV = bytes.fromhex("95fbf6f4")  # sdiv r4, r5, r6

STRAIGHT = [s.code for s in load_sequences() if s.kind == "straight"]
PLACES = st.lists(
    st.builds(Place, st.integers(0, 12), st.integers(0, 3), st.sampled_from(Memory)),
    unique_by=lambda place: place.register,
    max_size=MOST_BASES,
)


@pytest.fixture
def model() -> TimingModel:
    return timing_model("cortex-m4")


def pieces(code: bytes) -> list[bytes]:
    """The single instructions of `code`."""
    out, offset = [], 0
    while offset < len(code):
        size = 4 if is_wide(int.from_bytes(code[offset : offset + 2], "little")) else 2
        out.append(code[offset : offset + size])
        offset += size
    return out


def test_unknown_core_names_the_known_ones() -> None:
    with pytest.raises(UnknownCoreError, match="cortex-m4"):
        timing_model("cortex-m85")


def test_model_names_itself(model: TimingModel) -> None:
    assert model.name == "cortex-m4"
    assert model.version
    assert "%" in model.uncertainty


def places_after(code: bytes, places: tuple[Place, ...]) -> tuple[Place, ...]:
    """What is known of the registers after `code` has run, from what was known before."""
    origins, it_left = Origins(), 0
    for _, encoding, instruction in instructions(code):
        origins.follow(encoding, conditional=it_left > 0)
        it_left = max(instruction.it_length, it_left - 1, 0)
    known = {place.register: place for place in places}
    now = [(register, origins.of(register)) for register in range(13)]
    return tuple(
        Place(register, (known[at.register].residue + at.constant) % 4, known[at.register].memory)
        for register, at in now
        if at is not None and at.register in known
    )


@settings(max_examples=200, deadline=None)
@given(
    sequences=st.lists(st.sampled_from(STRAIGHT), min_size=1, max_size=12),
    upper=st.booleans(),
    cuts=st.sets(st.integers(1, 60)),
    places=PLACES.map(tuple),
)
def test_cost_does_not_depend_on_where_the_code_is_cut(
    sequences: list[bytes], upper: bool, cuts: set[int], places: tuple[Place, ...]
) -> None:
    model = CortexM4()
    code = b"".join(sequences)
    address = 0x0800_0102 if upper else 0x0800_0100
    whole = model.block_cost(address, code, model.initial_state, places)
    causes, state, block, done = (0,) * len(Cause), model.initial_state, b"", b""
    for n, instruction in enumerate([*pieces(code), b""]):
        if n in cuts or not instruction:
            now = places_after(done, places)
            cost = model.block_cost(address, block, state, now)
            causes = tuple(map(int.__add__, causes, cost.causes_fallthrough))
            state = cost.exit_fallthrough
            address, done, block = address + len(block), done + block, b""
        block += instruction
    assert sum(causes) == whole.cycles_fallthrough
    assert causes == whole.causes_fallthrough
    assert state == whole.exit_fallthrough


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from([s.code for s in load_sequences()]), max_size=8).map(b"".join),
    st.integers(0, 7),
    PLACES.map(tuple),
)
def test_every_cycle_has_one_cause(code: bytes, halfwords: int, places: tuple[Place, ...]) -> None:
    model = CortexM4()
    cost = model.block_cost(0x0800_0000 + 2 * halfwords, code, model.initial_state, places)
    assert sum(cost.causes_fallthrough) == cost.cycles_fallthrough
    assert sum(cost.causes_taken) == cost.cycles_taken
    assert cost.causes_fallthrough[Cause.CODE_WAIT] == cost.causes_fallthrough[Cause.DATA_WAIT] == 0


@pytest.mark.parametrize(
    ("asm", "code", "cause", "cycles"),
    [
        ("udiv r0, r1, r2", "b1fbf2f0", Cause.EXECUTE, 2),
        ("vdiv.f32 s0, s1, s2; vmul.f32 s3, s0, s1", "80ee810a60ee201a", Cause.EXECUTE, 14),
        ("ldr r0, [r1]; adds r1, r2, r3", "0868d118", Cause.LOAD_USE, 1),
        ("ldr r1, [r1]; ldr r1, [r1]", "09680968", Cause.LOAD_USE, 2),
        ("ldmia r0!, {r1, r2, r3, r4}", "1ec8", Cause.MEMORY, 4),
        ("str r0, [r1, #4]; ldr r2, [r3]", "48601a68", Cause.MEMORY, 1),
        ("isb", "bff36f8f", Cause.BRANCH, 3),
    ],
)
def test_causes(model: TimingModel, asm: str, code: str, cause: Cause, cycles: int) -> None:
    cost = model.block_cost(0, bytes.fromhex(code), model.initial_state)
    assert cost.causes_fallthrough[cause] == cycles, asm
    assert cost.causes_fallthrough[Cause.ISSUE] == len(pieces(bytes.fromhex(code)))


def test_a_taken_branch_refills(model: TimingModel) -> None:
    assert model.block_cost(0, NOP + BACK, 0).causes_taken[Cause.BRANCH] == 1
    assert model.block_cost(0, NOP + BX_LR, 0).causes_taken[Cause.BRANCH] == 3


def test_an_unaligned_store_delays_the_next_access_only(model: TimingModel) -> None:
    """The write buffer holds one store (ARM DDI 0439B, load/store timings)."""
    store, load, add = (bytes.fromhex(code) for code in ("0860", "1a68", "5919"))
    aligned, byte_aligned = Place(1, 0, Memory.SRAM), Place(1, 1, Memory.SRAM)

    def cycles(code: bytes, place: Place) -> int:
        return model.block_cost(0, code, model.initial_state, (place,)).cycles_fallthrough

    assert cycles(store + add, byte_aligned) == cycles(store + add, aligned)
    assert cycles(store + load, byte_aligned) == cycles(store + load, aligned) + 2
    assert cycles(store + add + load, byte_aligned) == cycles(store + add + load, aligned) + 2
    assert cycles(store + add * 3 + load, byte_aligned) == cycles(store + add * 3 + load, aligned)
    assert cycles(store + store, byte_aligned) == cycles(store + store, aligned) + 2


def test_data_from_the_memory_of_the_code_delays_its_fetches() -> None:
    """Flash reads 128 bits at once, and data comes first (ST RM0402 3.5); SRAM reads words."""
    code = bytes.fromhex("d1f80400") * 16 + WIDE * 16  # ldr.w r0, [r1, #4]: a word a cycle
    lost = []
    for address in (0x0800_0100, 0x2000_0100):
        model = CortexM4()
        elsewhere, same = (
            model.block_cost(address, code, model.initial_state, (Place(1, 0, memory),))
            for memory in (Memory.CCM, model.memory.at(address))
        )
        lost.append(same.cycles_fallthrough - elsewhere.cycles_fallthrough)
        fetches = (cost.causes_fallthrough[Cause.FETCH] for cost in (elsewhere, same))
        assert lost[-1] == -int.__sub__(*fetches)
    # Of each four words, the two loads that the FIFO still held go before the next line.
    assert 0 < lost[0] <= 2 * 16 // 4 < lost[1] <= 16


def test_the_stack_is_looked_at_only_where_it_may_lie_in_another_memory() -> None:
    pop_load = bytes.fromhex("10bc" + "4868")  # pop {r4}; ldr r0, [r1, #4]
    assert CortexM4().bases(pop_load) == (1,)
    ccm = MemoryTiming(regions=(Region(0x1000_0000, 0x1001_0000, Memory.CCM),))
    assert CortexM4(ccm).bases(pop_load) == (1, 13)


def test_stores_of_bytes_need_no_look(model: TimingModel) -> None:
    assert model.bases(bytes.fromhex("0870")) == ()  # strb r0, [r1]
    assert model.bases(bytes.fromhex("0880")) == (1,)  # strh r0, [r1]
    assert model.bases(bytes.fromhex("0ec1")) == ()  # stm r1!, {r1, r2, r3}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 3))
@example(bytes.fromhex("00ef500c"), 0)  # vfma.f32 q0, q0, q0: of a core with vectors
def test_any_bytes_have_a_cost(code: bytes, halfwords: int) -> None:
    model = CortexM4()
    cost = model.block_cost(0x0800_0000 + 2 * halfwords, code, model.initial_state)
    assert cost.cycles_fallthrough >= 0
    assert cost.cycles_taken >= 0
    assert 0 <= cost.exit_fallthrough < STATE_LIMIT
    assert 0 <= cost.exit_taken < STATE_LIMIT


def test_cost_at_an_instruction_is_the_cost_of_the_code_before_it(model: TimingModel) -> None:
    code = NOP * 3 + WIDE
    assert model.block_cost(0, code[:6], model.initial_state).cycles_fallthrough == 3
    assert model.block_cost(0, b"", model.initial_state).cycles_fallthrough == 0


def test_conditional_branch_costs_more_when_taken(model: TimingModel) -> None:
    cost = model.block_cost(0, NOP * 4 + BNE_BACK, model.initial_state)
    assert (cost.cycles_fallthrough, cost.cycles_taken) == (5, 6)


def test_a_branch_that_is_always_taken_is_so_even_to_the_next_address(model: TimingModel) -> None:
    cost = model.block_cost(0, NOP + BACK, model.initial_state)
    assert cost.cycles_fallthrough == cost.cycles_taken == 3
    assert cost.exit_fallthrough == cost.exit_taken


def test_a_branch_under_it_may_fall_through_wherever_the_block_was_cut(model: TimingModel) -> None:
    whole = model.block_cost(0, NOP + IT_EQ + BX_LR, model.initial_state)
    assert whole.cycles_fallthrough < whole.cycles_taken
    head = model.block_cost(0, NOP + IT_EQ, model.initial_state)
    tail = model.block_cost(4, BX_LR, head.exit_fallthrough)
    assert head.cycles_fallthrough + tail.cycles_fallthrough == whole.cycles_fallthrough
    assert head.cycles_fallthrough + tail.cycles_taken == whole.cycles_taken


@pytest.mark.parametrize("target", [0x100, 0x102])
def test_refill_stays_between_one_and_three(model: TimingModel, target: int) -> None:
    """P of the manual's tables, whatever branches and wherever it lands."""
    for code, own_cycles in ((BACK, 1), (BX_LR, 1), (POP_PC, 3)):
        jump = model.block_cost(0, code, model.initial_state)
        landed = model.block_cost(target, WIDE, jump.exit_taken)
        refill = jump.cycles_taken + landed.cycles_fallthrough - 1 - own_cycles
        assert 1 <= refill <= 3


def test_division_is_listed_with_its_registers_and_address(model: TimingModel) -> None:
    cost = model.block_cost(0x0800_0002, NOP + UDIV + SDIV, model.initial_state)
    listed = [(d.address, d.signed, d.dividend_register, d.divisor_register) for d in cost.dynamic]
    assert listed == [(0x0800_0004, False, 1, 2), (0x0800_0008, True, 5, 6)]
    assert cost.cycles_fallthrough == 1 + 3 + 3
    elsewhere = model.block_cost(0x0800_1002, NOP + UDIV + SDIV, model.initial_state)
    assert elsewhere.dynamic[0].address == 0x0800_1004


@pytest.mark.parametrize(
    ("dividend", "divisor", "cycles"),
    [(7, 9, 3), (9, 8, 5), (8 << 3, 8, 5), (8 << 4, 8, 6), (8 << 8, 8, 7), (0xFFFF_FFFF, 1, 12)],
)
def test_division_by_the_bits_of_its_operands(
    model: TimingModel, dividend: int, divisor: int, cycles: int
) -> None:
    """Measured on an STM32L4 (compendium.i-0.nl): 3, or by the difference in bits, up to 12."""
    cost = model.block_cost(0, UDIV, model.initial_state)
    (at,) = cost.dynamic
    extra = extra_divide_cycles(dividend, divisor, False, at.setup_cycles, at.bits_per_cycle)
    assert cost.cycles_fallthrough + extra == cycles


WORDS = st.integers(0, 0xFFFF_FFFF)


@given(WORDS, WORDS, st.booleans())
def test_division_takes_2_to_12_cycles(dividend: int, divisor: int, signed: bool) -> None:
    assert 0 <= extra_divide_cycles(dividend, divisor, signed) <= 10


def test_division_ends_early_when_the_quotient_is_short() -> None:
    assert extra_divide_cycles(7, 0, False) == 0
    assert extra_divide_cycles(7, 8, False) == 0
    assert extra_divide_cycles(0xFFFF_FFFF, 1, False) == 10
    assert extra_divide_cycles(0x1000, 0x10, False) < extra_divide_cycles(0x1000_0000, 0x10, False)
    # -1 / 1 is short when signed, the longest of all when not.
    assert extra_divide_cycles(0xFFFF_FFFF, 1, True) < extra_divide_cycles(0xFFFF_FFFF, 1, False)


def test_a_full_table_of_states_still_counts() -> None:
    """With room for one state every block starts afresh: no crash, at most a stall lost."""
    small = CortexM4(state_limit=1)
    full = CortexM4()
    for code in STRAIGHT:
        cost = small.block_cost(0, code, small.initial_state)
        assert cost.exit_fallthrough == small.initial_state
        exact = full.block_cost(0, code, full.initial_state)
        assert cost.cycles_fallthrough == exact.cycles_fallthrough


@pytest.mark.parametrize("n_instructions", [30, 60])
def test_a_new_block_costs_at_most_50_calls_an_instruction(n_instructions: int) -> None:
    """Below a millisecond for 30 instructions, and no more for each of a longer block."""
    code = (WIDE + NOP + bytes.fromhex("0868")) * (n_instructions // 3)
    CortexM4().block_cost(0, code, 0)  # decoding is cached by encoding: once in a program's life
    model = CortexM4()
    calls = count_calls(lambda: model.block_cost(0, code, model.initial_state))
    assert calls < 50 * n_instructions
