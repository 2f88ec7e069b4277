"""The inner loops of `le_compact.h` in Thumb-2 assembly for Armv7E-M with a floating-point unit.

    r0 pixels   r1 weights   r5 from the upper to the lower window   r2 - r4 temporaries
    r6:r7 r10:r11 upper window, r8:r9 r12:lr lower one, of the first and the second channel

The rest of the call waits in s0 to s9, in the order of the structure. A step is 10 cycles: two
loads side by side with the first weight, then the second one by itself, and four SMLAL.
"""

from __future__ import annotations

from mcuq_lab.liteengine.packing.compact import CompactWord

STEPS_OF_A_ROUND = 4

_SAVED_BYTES = 32
_ACCUMULATORS = ("r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr")
_TOTALS = ("r6", "r7", "r8", "r9", "r10", "r11")


def compact_assembly(word: CompactWord) -> list[str]:
    """Instructions of `void (const le_compact_call *)`, the argument in r0.

    Local labels are numbers: 1 block, 2 segment, 3 round, 4 accumulator.
    """
    return [
        "push {r4-r11, lr}",
        f"sub sp, #{_SAVED_BYTES + 4}",
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
        f"add sp, #{_SAVED_BYTES + 4}",
        "pop {r4-r11, pc}",
    ]


def _segment_start() -> list[str]:
    return [
        "vmov r2, s4",
        "adds r2, r2, r1",
        "vmov s10, r2",
        "vmov r6, s0",
        "vmov r7, s1",
        *(f"mov {to}, {start}" for to, start in zip(_ACCUMULATORS[2:], ("r6", "r7") * 3)),
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
    """Adds the fields of the accumulators to the sums of four words each, one by one."""
    count = word.pixels + 2
    totals = _TOTALS[:count]
    lines = [
        f"stm sp, {{{', '.join(_ACCUMULATORS)}}}",
        "vmov r2, s8",
        "mov r3, sp",
        f"add lr, r3, #{_SAVED_BYTES}",
        "4:",
        *(f"ldr {total}, [r2, #{16 * k}]" for k, total in enumerate(totals)),
        "ldr r5, [r3, #4]",
        "ldr r4, [r3], #8",
    ]
    for k, total in enumerate(totals):
        low = k * word.shift
        if k == count - 1:
            lines.append(f"add {total}, {total}, r5, lsr #{low - 32}")
            continue
        if low + word.shift <= 32:
            lines.append(f"ubfx r12, r4, #{low}, #{word.shift}")
        elif low >= 32:
            lines.append(f"ubfx r12, r5, #{low - 32}, #{word.shift}")
        else:
            lines.append(f"lsr r12, r4, #{low}")
            lines.append(f"orr r12, r12, r5, lsl #{32 - low}")
            lines.append(f"ubfx r12, r12, #0, #{word.shift}")
        lines.append(f"add {total}, r12")
    lines += [f"str {total}, [r2, #{16 * k}]" for k, total in enumerate(totals)]
    return [*lines, "adds r2, #4", "cmp r3, lr", "bne.w 4b"]
