"""Machine code to timing classes, on what compilers and hand-written kernels emit."""

import pytest

from mcuq_lab.nucleosim.timing.decode import decode, instructions
from mcuq_lab.nucleosim.timing.instruction import Access, Instruction, Kind


def registers(*numbers: int) -> frozenset[int]:
    return frozenset(numbers)


CASES = {
    # add.w r0, r1, r2, lsl #3
    "01ebc200": Instruction(Kind.ALU, True, results=registers(0)),
    # cmp r0, #3
    "0328": Instruction(Kind.ALU, False),
    # smlald r0, r1, r2, r3: both halves of the sum are results
    "c2fbc301": Instruction(Kind.ALU, True, results=registers(0, 1)),
    # ldr.w r0, [r1, r2, lsl #2]: base and index both go to address generation
    "51f82200": Instruction(
        Kind.LOAD,
        True,
        address_registers=registers(1, 2),
        loaded=registers(0),
        access=Access(1, None, 4, index_shift=2),
    ),
    # ldr r0, [pc, #4]: the program counter is always ready
    "0148": Instruction(Kind.LOAD, False, loaded=registers(0), access=Access(15, 4, 4)),
    # ldr r0, [r4], #4: the base is a result of the ALU, the word comes from memory
    "54f8040b": Instruction(
        Kind.LOAD,
        True,
        address_registers=registers(4),
        results=registers(4),
        loaded=registers(0),
        access=Access(4, 0, 4, writes_back=True),
    ),
    # str r0, [r4, #-4]!
    "44f8040d": Instruction(
        Kind.STORE,
        True,
        address_registers=registers(4),
        results=registers(4),
        access=Access(4, -4, 4, writes_back=True),
    ),
    # strb r0, [r1, r2]
    "8854": Instruction(
        Kind.STORE_INDEXED_BY_REGISTER,
        False,
        address_registers=registers(1, 2),
        access=Access(1, None, 1),
    ),
    # ldrsht r0, [r1, #6]; strexb r2, r3, [r1]
    "31f9060e": Instruction(
        Kind.LOAD,
        True,
        address_registers=registers(1),
        loaded=registers(0),
        access=Access(1, 6, 2),
    ),
    "c1e8423f": Instruction(
        Kind.LOAD,
        True,
        address_registers=registers(1),
        loaded=registers(2),
        access=Access(1, 0, 1),
    ),
    # pop {r4, pc}
    "10bd": Instruction(
        Kind.LOAD_MULTIPLE,
        False,
        address_registers=registers(13),
        loaded=registers(15),
        register_count=2,
        writes_pc=True,
        access=Access(13, 0, 4, count=2, writes_back=True),
    ),
    # ldrd r0, r1, [r2, #8]
    "d2e90201": Instruction(
        Kind.LOAD_MULTIPLE,
        True,
        address_registers=registers(2),
        loaded=registers(1),
        register_count=2,
        access=Access(2, 8, 4, count=2),
    ),
    # stmdb r8!, {r0, r1, r2}
    "28e90700": Instruction(
        Kind.STORE_MULTIPLE,
        True,
        address_registers=registers(8),
        register_count=3,
        access=Access(8, -12, 4, count=3, writes_back=True),
    ),
    # bl, bne, cbz, bx lr, tbb [pc, r0]
    "fff7feff": Instruction(Kind.BRANCH, True, writes_pc=True),
    "fed1": Instruction(Kind.BRANCH, False, writes_pc=True, conditional=True),
    "08b1": Instruction(Kind.BRANCH, False, writes_pc=True, conditional=True),
    "7047": Instruction(Kind.BRANCH_INDIRECT, False, writes_pc=True),
    "dfe800f0": Instruction(
        Kind.BRANCH_TABLE,
        True,
        address_registers=registers(0),
        writes_pc=True,
        access=Access(15, None, 1),
    ),
    # mov pc, r1
    "8f46": Instruction(Kind.BRANCH_INDIRECT, False, writes_pc=True),
    # itte eq
    "06bf": Instruction(Kind.IT, False, it_length=3),
    # nop, nop.w; wfi is none: nothing is known to swallow it
    "00bf": Instruction(Kind.NOP, False),
    "aff30080": Instruction(Kind.NOP, True),
    "30bf": Instruction(Kind.ALU, False),
    # sdiv r0, r1, r2
    "91fbf2f0": Instruction(Kind.DIVIDE, True, results=registers(0), divide=(True, 1, 2)),
    # vfma.f32 s0, s1, s2: the addend s0 is not read in the first cycle
    "a0ee810a": Instruction(
        Kind.FP_MULTIPLY_ACCUMULATE, True, fp_sources=registers(1, 2), fp_results=registers(0)
    ),
    # vmov r0, r1, d3
    "51ec130b": Instruction(
        Kind.FP_MOVE,
        True,
        results=registers(0, 1),
        register_count=2,
        fp_sources=registers(6, 7),
    ),
    # vldr d0, [r1]: two words
    "91ed000b": Instruction(
        Kind.LOAD_MULTIPLE,
        True,
        address_registers=registers(1),
        register_count=2,
        access=Access(1, 0, 4, count=2),
    ),
    # vpush {d8, d9}
    "2ded048b": Instruction(
        Kind.STORE_MULTIPLE,
        True,
        address_registers=registers(13),
        register_count=4,
        fp_sources=registers(16, 17, 18, 19),
        access=Access(13, -16, 4, count=4, writes_back=True),
    ),
    # udf #0 and a permanently undefined 32-bit encoding
    "00de": Instruction(Kind.ALU, False),
    "f0f7f0a0": Instruction(Kind.ALU, True),
}


@pytest.mark.parametrize("code", CASES)
def test_decode(code: str) -> None:
    assert decode(bytes.fromhex(code)) == CASES[code]


def test_instructions_of_a_run_and_a_half_that_is_left() -> None:
    code = bytes.fromhex("0128" + "01ebc200" + "01eb")
    assert [(offset, encoding.hex()) for offset, encoding, _ in instructions(code)] == [
        (0, "0128"),
        (2, "01ebc200"),
        (6, "01eb"),
    ]
