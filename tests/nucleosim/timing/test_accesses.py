"""Which registers decide, and what places tell of the accesses of a block."""

import pytest

from mcuq_lab.nucleosim.timing.accesses import Where, Whereabouts, bases
from mcuq_lab.nucleosim.timing.cost import MOST_BASES, Place
from mcuq_lab.nucleosim.timing.decode import instructions
from mcuq_lab.nucleosim.timing.memory import Memory

LDR_R1 = bytes.fromhex("4868")  # ldr r0, [r1, #4]
LDR_R1_POST = bytes.fromhex("51f8060b")  # ldr r0, [r1], #6
LDRH_R2_INDEXED = bytes.fromhex("32f81330")  # ldrh.w r3, [r2, r3, lsl #1]
LDRB_R2_INDEXED = bytes.fromhex("d35c")  # ldrb r3, [r2, r3]
LDR_SP = bytes.fromhex("0198")  # ldr r0, [sp, #4]
LITERAL = bytes.fromhex("0148")  # ldr r0, [pc, #4]
PUSH = bytes.fromhex("30b5")  # push {r4, r5, lr}
IT_EQ = bytes.fromhex("08bf")
ADD_R1_3 = bytes.fromhex("0331")  # adds r1, #3
R1 = Place(1, residue=3, memory=Memory.FLASH)
R2 = Place(2, residue=5, memory=Memory.CCM)


def wheres(code: bytes, *places: Place, mask: int = 7) -> list[Where]:
    whereabouts = Whereabouts(places, mask, code_memory=Memory.FLASH)
    found, it_left = [], 0
    for _, encoding, instruction in instructions(code):
        if instruction.access is not None:
            found.append(whereabouts.of(instruction.access))
        whereabouts.follow(encoding, conditional=it_left > 0)
        it_left = max(instruction.it_length, it_left - 1, 0)
    return found


def test_an_offset_is_added_to_the_place() -> None:
    assert wheres(LDR_R1, R1) == [Where(7, 8, Memory.FLASH)]
    assert wheres(LDR_R1, R1, mask=3) == [Where(3, 4, Memory.FLASH)]


def test_a_base_that_moves_is_followed() -> None:
    first, second = wheres(LDR_R1_POST + LDR_R1, R1)
    assert first == Where(3, 8, Memory.FLASH)
    assert second == Where((3 + 6 + 4) % 8, 8, Memory.FLASH)


def test_without_a_place_nothing_is_known() -> None:
    assert wheres(LDR_R1, R2) == [Where()]
    assert Where().modulo(2) is None


def test_a_scaled_index_leaves_multiples_of_its_scale() -> None:
    (halfword,) = wheres(LDRH_R2_INDEXED, R2)
    assert (halfword.modulo(2), halfword.modulo(4), halfword.memory) == (1, None, Memory.CCM)
    (byte,) = wheres(LDRB_R2_INDEXED, R2)
    assert (byte.modulo(2), byte.memory) == (None, Memory.CCM)


def test_the_stack_is_aligned_without_a_look_at_it() -> None:
    pushed, loaded = wheres(PUSH + LDR_SP)
    assert (pushed.modulo(4), loaded.modulo(4), loaded.modulo(8)) == (0, 0, None)
    (looked_at,) = wheres(LDR_SP, Place(13, 4, Memory.CCM))
    assert looked_at == Where(0, 8, Memory.CCM)


def test_literals_lie_with_the_code() -> None:
    assert wheres(LITERAL) == [Where(0, 4, Memory.FLASH)]


def test_tables_beside_the_code_lie_with_it() -> None:
    """ADR in its three encodings, and a load from there."""
    for adr in ("00a1", "0ff20401", "aff20401"):  # adr r1, .+4; addw r1, pc, #4; subw
        assert wheres(bytes.fromhex(adr) + LDR_R1, R1) == [Where(0, 4, Memory.FLASH)]
    assert wheres(bytes.fromhex("0ff20101") + LDR_R1) == [Where(1, 4, Memory.FLASH)]
    assert bases(bytes.fromhex("00a1") + LDR_R1, lambda instruction: True) == ()


def test_what_an_it_may_skip_is_not_known_afterwards() -> None:
    assert wheres(IT_EQ + ADD_R1_3 + LDR_R1, R1) == [Where()]
    assert wheres(ADD_R1_3 + LDR_R1, R1) == [Where(2, 8, Memory.FLASH)]


def test_the_register_that_decides_most_comes_first() -> None:
    code = LDRH_R2_INDEXED + LDR_R1 * 2 + LDR_SP * 3 + LITERAL * 4
    assert bases(code, lambda instruction: True) == (13, 1, 2)
    assert bases(code, lambda instruction: True, left_out=frozenset({13})) == (1, 2)
    assert bases(code, lambda instruction: instruction.access.size_bytes == 2) == (2,)


def test_a_register_that_was_loaded_in_the_block_is_none() -> None:
    load_r1 = bytes.fromhex("5168")  # ldr r1, [r2, #4]
    assert bases(load_r1 + LDR_R1, lambda instruction: True) == (2,)


@pytest.mark.parametrize("count", [MOST_BASES, MOST_BASES + 3])
def test_there_are_never_too_many(count: int) -> None:
    code = b"".join(((0x6800 | n << 3 | 7) & 0xFFFF).to_bytes(2, "little") for n in range(7))
    code += bytes.fromhex("d8f80000") * (count - MOST_BASES)  # ldr.w r0, [r8]
    assert len(bases(code, lambda instruction: True)) == MOST_BASES
