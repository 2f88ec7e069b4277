"""The inner loops of `le_compact.h` in Thumb-2 assembly for Armv7E-M with a floating-point unit.

    r0 pixels   r1 weights   r5 from the upper to the lower window   r2 - r4 temporaries
    r6:r7 r10:r11 upper window, r8:r9 r12:lr lower one, of the first and the second channel

The rest of the call waits in s0 to s9, in the order of the structure. A step is 10 cycles: two
loads side by side with the first weight, then the second one by itself, and four SMLAL.
"""

from __future__ import annotations

from mcuq_lab.liteengine.packing.compact import CompactWord

STEPS_OF_A_ROUND = 8

_ACCUMULATORS = (("r6", "r7"), ("r8", "r9"), ("r10", "r11"), ("r12", "lr"))


def compact_assembly(word: CompactWord) -> list[str]:
    """Instructions of `void (const le_compact_call *)`, the argument in r0.

    Local labels are numbers: 1 block, 2 segment, 3 round.
    """
    return [
        "push {r4-r11, lr}",
        "vldmia r0, {s0-s9}",
        "1:",
        "vmov r0, s5",
        "vmov r1, s2",
        "2:",
        *_segment_start(),
        ".p2align 2",
        "3:",
        *(line for step in range(STEPS_OF_A_ROUND) for line in _step(step)),
        "vmov r2, s10",
        "cmp r1, r2",
        "bne.w 3b",
        *_fields_to_line(word),
        "vmov r3, s3",
        "cmp r1, r3",
        "bne.w 2b",
        "vmov r2, s5",
        "vmov r3, s6",
        "adds r2, r2, r3",
        "vmov s5, r2",
        "vmov r2, s8",
        f"adds r2, #{8 * word.pixels}",
        "vmov s8, r2",
        "vmov r3, s9",
        "cmp r2, r3",
        "bne.w 1b",
        "pop {r4-r11, pc}",
    ]


def _segment_start() -> list[str]:
    return [
        "vmov r2, s4",
        "adds r2, r2, r1",
        "vmov s10, r2",
        "vmov r6, s0",
        "vmov r7, s1",
        *(f"mov {low}, r6" for low, _ in _ACCUMULATORS[1:]),
        *(f"mov {high}, r7" for _, high in _ACCUMULATORS[1:]),
        "vmov r5, s7",
    ]


def _step(number: int) -> list[str]:
    """The last step of a round takes the weights' pointer on."""
    at = 8 * number
    last = number == STEPS_OF_A_ROUND - 1
    return [
        "ldr r3, [r0, r5]",
        "ldr r2, [r0], #4",
        f"ldr r4, [r1, #{at}]",
        "smlal r6, r7, r2, r4",
        "smlal r8, r9, r3, r4",
        f"ldr r4, [r1, #{at + 4}]",
        "smlal r10, r11, r2, r4",
        "smlal r12, lr, r3, r4",
        *([f"adds r1, #{8 * STEPS_OF_A_ROUND}"] if last else []),
    ]


def _fields_to_line(word: CompactWord) -> list[str]:
    """Adds the fields of all accumulators to the sums, those of the lower row to upper halves."""
    lines = ["vmov r2, s8"]
    for field in range(word.pixels + 2):
        first, second = f"[r2, #{8 * field}]", f"[r2, #{8 * field + 4}]"
        lines += [f"ldr r4, {first}", f"ldr r5, {second}"]
        for number, accumulator in enumerate(_ACCUMULATORS):
            lines += _added(word, field, accumulator, f"r{4 + number // 2}", number % 2)
        lines += [f"str r4, {first}", f"str r5, {second}"]
    return lines


def _added(
    word: CompactWord, field: int, accumulator: tuple[str, str], to: str, half: int
) -> list[str]:
    """Adds a field of an accumulator to a half of a register."""
    low, high = accumulator
    at = field * word.shift
    into = f"add {to}, {to}, r3, lsl #16" if half else f"add {to}, r3"
    if field == word.pixels + 1:
        if half:
            return [f"lsr r3, {high}, #{at - 32}", into]
        return [f"add {to}, {to}, {high}, lsr #{at - 32}"]
    if at + word.shift <= 32:
        return [f"ubfx r3, {low}, #{at}, #{word.shift}", into]
    if at >= 32:
        return [f"ubfx r3, {high}, #{at - 32}, #{word.shift}", into]
    joined = [f"lsr r3, {low}, #{at}", f"orr r3, r3, {high}, lsl #{32 - at}"]
    return [*joined, f"ubfx r3, r3, #0, #{word.shift}", into]


def fields_cycles(word: CompactWord) -> int:
    """Cycles of adding all fields to the line: one each, and one for each pair of loads."""
    return len(_fields_to_line(word)) + word.pixels + 2
