"""Machine code to the Cortex-M7's units, needs and results."""

import pytest

from mcuq_lab.nucleosim.timing.cortex_m7_decode import decode_operation
from mcuq_lab.nucleosim.timing.cortex_m7_latencies import Need, Producer
from mcuq_lab.nucleosim.timing.cortex_m7_operation import (
    ACCUMULATE_MARK,
    CHAINED_MARK,
    FLAGS,
    FP_FIRST,
    GE_FLAGS,
    Early,
    Operation,
    Shifter,
    Unit,
)


def decoded(code: str) -> Operation:
    return decode_operation(bytes.fromhex(code))


READS = {
    # add.w r0, r1, r2, lsl #3: the shifted operand is needed early
    "01ebc200": {(1, Need.LATE), (2, Need.SHIFTER)},
    # adc.w r0, r1, r2
    "41eb0200": {(1, Need.LATE), (2, Need.LATE), (FLAGS, Need.LATE)},
    # smlal r0, r1, r2, r3: both halves of the sum are addends
    "c2fb0301": {
        (0, Need.ADDEND),
        (1, Need.ADDEND),
        (2, Need.FACTOR),
        (3, Need.FACTOR),
    },
    # bfi r0, r1, #3, #4: what is inserted is needed early, where it goes is not
    "61f3c600": {(0, Need.LATE), (1, Need.SHIFTER)},
    # uxtab16 r0, r1, r2
    "31fa82f0": {(1, Need.LATE), (2, Need.SHIFTER)},
    # ssat r0, #5, r1, asr #3
    "21f3c400": {(1, Need.SHIFTER)},
    # sel r0, r1, r2
    "a1fa82f0": {(1, Need.LATE), (2, Need.LATE), (GE_FLAGS, Need.LATE)},
    # ldr.w r0, [r1, r2, lsl #2]
    "51f82200": {(1, Need.ADDRESS), (2, Need.INDEX)},
    # str.w r0, [r1], #4
    "41f8040b": {(1, Need.ADDRESS), (0, Need.STORED)},
    # push {r0, r1}
    "03b4": {(13, Need.ADDRESS), (0, Need.STORED), (1, Need.STORED)},
    # pld [r0]
    "90f800f0": {(0, Need.ADDRESS)},
    # movw r0, #1 reads nothing, movt r0, #1 its other half
    "40f20100": set(),
    "c0f20100": {(0, Need.LATE)},
    # vfma.f32 s0, s1, s2
    "a0ee810a": {
        (FP_FIRST, Need.FUSED_ADDEND),
        (FP_FIRST + 1, Need.FP_FACTOR),
        (FP_FIRST + 2, Need.FP_FACTOR),
        (CHAINED_MARK, Need.FUSED_START),
    },
    # vmov s0, r0
    "00ee100a": {(0, Need.TO_FPU)},
}


@pytest.mark.parametrize("code", READS)
def test_reads(code: str) -> None:
    assert set(decoded(code).reads) == READS[code]


WRITES = {
    # adds r0, r1, r2 sets flags, add.w r0, r1, r2 does not, nor does adc.w
    "8818": {(0, Producer.LATE_ALU), (FLAGS, Producer.FLAGS)},
    "01eb0200": {(0, Producer.LATE_ALU)},
    "41eb0200": {(0, Producer.LATE_ALU)},
    # uadd8 r0, r1, r2
    "81fa42f0": {(0, Producer.LATE_ALU), (GE_FLAGS, Producer.FLAGS)},
    # ldrb r0, [r1], #1
    "11f8010b": {(0, Producer.PART), (1, Producer.WRITE_BACK)},
    # ldrd r0, r1, [r2]
    "d2e90001": {(0, Producer.WORD), (1, Producer.WORD)},
    # bl
    "fff7feff": {(14, Producer.LATE_ALU)},
    # vmla.f32 s0, s1, s2
    "00ee810a": {
        (FP_FIRST, Producer.CHAINED),
        (ACCUMULATE_MARK, Producer.ACCUMULATE_BUSY),
        (CHAINED_MARK, Producer.CHAINED_BUSY),
    },
    # vmov r0, r1, d0
    "51ec100b": {(0, Producer.FROM_FPU), (1, Producer.FROM_FPU)},
}


@pytest.mark.parametrize("code", WRITES)
def test_writes(code: str) -> None:
    assert set(decoded(code).writes) == WRITES[code]


@pytest.mark.parametrize(
    ("code", "unit", "shifter", "early"),
    [
        ("01eb0200", Unit.ALU, Shifter.NONE, Early.FROM_OLDER_SLOT),  # add.w r0, r1, r2
        ("01ebc200", Unit.ALU, Shifter.OPERAND, Early.NO),  # add.w r0, r1, r2, lsl #3
        ("4feac100", Unit.ALU, Shifter.SHIFT, Early.FROM_EITHER_SLOT),  # lsl.w r0, r1, #3
        ("81f4fe50", Unit.ALU, Shifter.OPERAND, Early.NO),  # eor r0, r1, #0x1fc0
        ("01f10100", Unit.ALU, Shifter.NONE, Early.FROM_OLDER_SLOT),  # add.w r0, r1, #1
        ("b1fa81f0", Unit.BITS, Shifter.NONE, Early.NO),  # clz r0, r1
        ("61f3c600", Unit.BITS, Shifter.BITS, Early.NO),  # bfi r0, r1, #3, #4
        ("21fb0230", Unit.MULTIPLIER, Shifter.NONE, Early.NO),  # smlad r0, r1, r2, r3
        ("91ed000b", Unit.ALL, Shifter.NONE, Early.NO),  # vldr d0, [r1]
        ("bff34f8f", Unit.ALL, Shifter.NONE, Early.NO),  # dsb
        ("00de", Unit.ALL, Shifter.NONE, Early.NO),  # udf #0
        ("00bf", Unit.NONE, Shifter.NONE, Early.NO),  # nop
        ("7047", Unit.BRANCH, Shifter.NONE, Early.NO),  # bx lr
    ],
)
def test_unit_shifter_and_alu(code: str, unit: Unit, shifter: Shifter, early: Early) -> None:
    operation = decoded(code)
    assert (operation.unit, operation.shifter, operation.early) == (unit, shifter, early)


@pytest.mark.parametrize(
    ("code", "cycles"),
    [
        ("88e80f00", 2),  # stm.w r8, {r0-r3}
        ("98e81f00", 3),  # ldm.w r8, {r0-r4}
        ("d2e90001", 1),  # ldrd r0, r1, [r2]
        ("80ee811a", 1 + 15),  # vdiv.f32 s2, s1, s2
        ("dfe800f0", 2),  # tbb [pc, r0]
    ],
)
def test_cycles_of_the_issue_stage(code: str, cycles: int) -> None:
    assert decoded(code).cycles == cycles
