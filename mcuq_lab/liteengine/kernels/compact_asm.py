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
        f"adds r2, #{16 * word.pixels}",
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
    """Adds the fields of the accumulators to the sums, two at a time."""
    lines = ["vmov r2, s8"]
    for number, (low, high) in enumerate(_ACCUMULATORS):
        for first in range(0, word.pixels + 2, 2):
            fields = range(first, min(first + 2, word.pixels + 2))
            places = [(f"r{4 + k - first}", f"[r2, #{16 * k + 4 * number}]") for k in fields]
            lines += [f"ldr {to}, {place}" for to, place in places]
            for field, (to, _) in zip(fields, places, strict=True):
                lines += _added(word, field, low, high, to)
            lines += [f"str {to}, {place}" for to, place in places]
    return lines


def _added(word: CompactWord, field: int, low: str, high: str, to: str) -> list[str]:
    """Adds a field of an accumulator to a register."""
    at = field * word.shift
    if field == word.pixels + 1:
        return [f"add {to}, {to}, {high}, lsr #{at - 32}"]
    if at + word.shift <= 32:
        taken = [f"ubfx r3, {low}, #{at}, #{word.shift}"]
    elif at >= 32:
        taken = [f"ubfx r3, {high}, #{at - 32}, #{word.shift}"]
    else:
        taken = [f"lsr r3, {low}, #{at}", f"orr r3, r3, {high}, lsl #{32 - at}"]
        taken.append(f"ubfx r3, r3, #0, #{word.shift}")
    return [*taken, f"add {to}, r3"]
