"""Fully connected layers of two channels a half (`le_fullyconnected_halves.h`) in Thumb-2 assembly
for Armv7E-M with an FPU: the whole kernel.

    r0 activations; in the epilogue constants
    r1 the word of weights before the next one; in the epilogue sum of the lower channel
    r2 word of activations, r3 a pair of them; in the epilogue, with r4 - r7, constants
    r4 - r7 words of weights
    r8 - r12 sums of each pair of channels in turn
    lr mask of an activation in either half, of bytes end of the segment; in the epilogue outputs

The end of the segment waits in r12 where that is free. Registers of the floating-point unit:

    s0 end of the segment    s1 the activations    s2 outputs    s3 constants of the tile
    s4 end of the outputs    s5 weights    s6 end of the activations
    s8 - s12 the lower channels' sums up to the last segment
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

MOST_PAIRS = 5

_WORDS = ("r4", "r5", "r6", "r7")
_SUMS = ("r8", "r9", "r10", "r11", "r12")
_LOWER_SUMS = ("s8", "s9", "s10", "s11", "s12")
_CONSTANTS = ("r2", "r3", "r4", "r5", "r6", "r7")
_CONSTANT_BYTES = 24
_BRANCH_CYCLES = 2


@dataclass(frozen=True)
class ChannelHalves:
    """What a kernel is specialised by.

    Attributes:
        pairs: of channels in a tile, 1 to 5; an even number where outputs take 2 bits.
        tail: channels of the last tile that are stored, 1 to 2 * pairs.
        in_storage, out_storage: 2, 4 or 8 bits.
        field_bits: of the lower channel in a half.
        segment_inputs: inputs of a segment, 0: a row is one.
        whole: a row is whole segments.
        out_bits, pre_shift, shift: of the requantization.
    """

    pairs: int
    tail: int
    in_storage: int
    out_storage: int
    field_bits: int
    segment_inputs: int
    whole: bool
    out_bits: int
    pre_shift: int
    shift: int

    @property
    def name(self) -> str:
        """Part of the kernel's name: all but the requantization and the inputs' width."""
        segments = (
            f"i{self.segment_inputs}{'' if self.whole else 'r'}" if self.segment_inputs else ""
        )
        return f"{self.pairs}t{self.tail}s{self.field_bits}{segments}"


def round_inputs(in_storage: int) -> int:
    """Inputs of a round of the loop: a word of activations, of bytes two words."""
    return max(32 // in_storage, 8)


def halves_assembly(kernel: ChannelHalves) -> list[str]:
    """Instructions of `void (const le_fullyconnected_layer *, const uint8_t *in, uint8_t *out)`.

    Local labels are numbers: 2 round, 3 tile, 4 segment, 9 the end.
    """
    lines = [*_prologue(kernel), ".p2align 2", "3:", *_starts(kernel)]
    if kernel.segment_inputs:
        lines += ["4:", *_segment_start(kernel)]
    lines += ["2:", *_round(kernel), *_compared(kernel), "bne.w 2b"]
    if kernel.segment_inputs:
        lines += [*_segment_end(kernel), "bne.w 4b"]
    return [*lines, *_outputs(kernel), "b.w 3b", "9:", "pop {r4-r11, pc}"]


def halves_cycles(kernel: ChannelHalves, inputs: int, tiles: int) -> int:
    """Cycles of a layer: an instruction takes one, a load after something else one more."""
    rounds = -(-inputs // round_inputs(kernel.in_storage))
    loop = _issued([*_round(kernel), *_compared(kernel)]) + _BRANCH_CYCLES
    tile = rounds * loop + _issued([*_starts(kernel), *_outputs(kernel)]) + 2 * _BRANCH_CYCLES
    if kernel.segment_inputs:
        segment = _issued([*_segment_start(kernel), *_segment_end(kernel)]) + _BRANCH_CYCLES
        tile += -(-inputs // kernel.segment_inputs) * segment
    return _issued(_prologue(kernel)) + 44 + tiles * tile


def _issued(lines: Iterable[str]) -> int:
    loads = [line.startswith("ldr") for line in lines if not line.startswith(("it", "."))]
    first_loads = sum(now > before for before, now in zip([False, *loads], loads, strict=False))
    return len(loads) + first_loads


def _prologue(kernel: ChannelHalves) -> list[str]:
    in_shift = {8: "", 4: ", lsr #1", 2: ", lsr #2"}[kernel.in_storage]
    lines = ["push {r4-r11, lr}", "ldm r0, {r3-r7}", f"add r3, r1, r3{in_shift}", "vmov s1, r1"]
    lines += [
        f"vmov {'s0' if not kernel.segment_inputs else 's6'}, r3",
        "vmov s2, r2",
        "vmov s3, r7",
    ]
    if kernel.out_storage == 8:
        lines.append("adds r4, r2, r4")
    else:
        fields = 8 // kernel.out_storage
        lines += [f"adds r4, #{fields - 1}", f"add r4, r2, r4, lsr #{fields // 2}"]
    return [*lines, "vmov s4, r4", "subs r1, r6, #4"]


def _end_register(kernel: ChannelHalves) -> str | None:
    """Where the end of a segment waits during its rounds, None: no register is free."""
    if kernel.in_storage == 8:
        return "lr"
    return "r12" if kernel.pairs < MOST_PAIRS else None


def _starts(kernel: ChannelHalves) -> list[str]:
    lines = ["vmov r0, s1", *(f"mov.w {sums}, #0" for sums in _SUMS[: kernel.pairs])]
    if kernel.segment_inputs:
        lines += [f"vmov {lower}, {_SUMS[0]}" for lower in _LOWER_SUMS[: kernel.pairs]]
    if kernel.in_storage != 8:
        field = (1 << kernel.in_storage) - 1
        lines.append(f"mov.w lr, #{field * 0x00010001}")
    end = _end_register(kernel)
    return [*lines, *([f"vmov {end}, s0"] if end and not kernel.segment_inputs else [])]


def _segment_start(kernel: ChannelHalves) -> list[str]:
    end = _end_register(kernel) or "r3"
    lines = [f"addw {end}, r0, #{kernel.segment_inputs * kernel.in_storage // 8}"]
    if not kernel.whole:
        lines += ["vmov r2, s6", f"cmp {end}, r2", "it hi", f"movhi {end}, r2"]
    return [*lines, *(["vmov s0, r3"] if end == "r3" else [])]


def _segment_end(kernel: ChannelHalves) -> list[str]:
    """Adds to the lower channels' sums; flags tell whether this was the last segment."""
    used = [(f"r{2 + pair}", _LOWER_SUMS[pair], _SUMS[pair]) for pair in range(kernel.pairs)]
    lines = [f"vmov {lower}, {kept}" for lower, kept, _ in used]
    for lower, kept, sums in used:
        lines += [
            f"sub.w r7, {sums}, {lower}",
            f"sbfx r7, r7, #0, #{kernel.field_bits}",
            f"add {lower}, r7",
            f"vmov {kept}, {lower}",
        ]
    return [*lines, "vmov r7, s6", "cmp r0, r7"]


def _compared(kernel: ChannelHalves) -> list[str]:
    end = _end_register(kernel)
    return [f"cmp r0, {end}"] if end else ["vmov r3, s0", "cmp r0, r3"]


def _round(kernel: ChannelHalves) -> list[str]:
    """Products of a round. Weights are loaded four words at a time, whichever step they are of."""
    per_word, pairs = 16 // kernel.in_storage, kernel.pairs
    lines: list[str] = []
    for first in range(0, round_inputs(kernel.in_storage) // 2 * pairs, 4):
        steps = [divmod(word, pairs) for word in range(first, first + 4)]
        # A word of activations is loaded with the weights if the one before is used up by then.
        begun = [step for step, pair in steps if pair == 0 and step % per_word == 0]
        early = [step for step in begun if step == 0 or (step - 1) * pairs < first]
        lines += ["ldr.w r2, [r0], #4"] if early else []
        base = first % (4 * pairs)
        for place, word in enumerate(_WORDS):
            offset = 4 * (base + place) + 4
            moves_base = base + place + 1 == 4 * pairs
            lines.append(
                f"ldr.{'w' if moves_base else 'n'} {word}, [r1, #{offset}]{'!' * moves_base}"
            )
        for (step, pair), word in zip(steps, _WORDS, strict=True):
            if pair == 0:
                lines += ["ldr.w r2, [r0], #4"] if step in begun and step not in early else []
                lines.append(_extracted(kernel.in_storage, step % per_word))
            lines.append(f"smlad {_SUMS[pair]}, r3, {word}, {_SUMS[pair]}")
    return lines


def _extracted(in_storage: int, step: int) -> str:
    """The pair of activations `step` of a word: fields that begin in either half."""
    shift = step * in_storage
    if in_storage == 8:
        return "uxtb16 r3, r2" + (f", ror #{shift}" if shift else "")
    return "and.w r3, lr, r2" + (f", lsr #{shift}" if shift else "")


def _outputs(kernel: ChannelHalves) -> list[str]:
    """Sums of a tile become outputs; the layer ends behind the last tile's last channel."""
    lines = ["vmov s5, r1", "vmov r0, s3", "vmov lr, s2"]
    for pair in range(kernel.pairs):
        lines += [*_separated(kernel, pair), *_requantized(kernel, pair)]
        lines += _stored(kernel, pair)
    return [*lines, f"adds r0, #{_CONSTANT_BYTES * kernel.pairs}", "vmov s3, r0", "vmov s2, lr",
            "vmov r1, s5"]  # fmt: skip


def _separated(kernel: ChannelHalves, pair: int) -> list[str]:
    """r1 becomes the lower channel's sum, the pair's register 2**s times the upper one's."""
    sums = _SUMS[pair]
    if kernel.segment_inputs:
        return [f"vmov r1, {_LOWER_SUMS[pair]}", f"sub.w {sums}, {sums}, r1"]
    return [f"sbfx r1, {sums}, #0, #{kernel.field_bits}", f"sub.w {sums}, {sums}, r1"]


def _requantized(kernel: ChannelHalves, pair: int) -> list[str]:
    sums, base = _SUMS[pair], _CONSTANT_BYTES * pair
    lines = [
        f"ldr.n {register}, [r0, #{base + 4 * place}]" for place, register in enumerate(_CONSTANTS)
    ]
    lines += ["add r1, r2", f"add.w {sums}, r5, {sums}, asr #{kernel.field_bits}"]
    if kernel.pre_shift:
        shift = f"#{kernel.pre_shift}"
        lines += [f"lsls r1, r1, {shift}", f"lsl.w {sums}, {sums}, {shift}"]
    shifted = f", asr #{kernel.shift}" if kernel.shift else ""
    return [
        *lines,
        "smmla r1, r1, r3, r4",
        f"smmla {sums}, {sums}, r6, r7",
        f"usat r1, #{kernel.out_bits}, r1{shifted}",
        f"usat {sums}, #{kernel.out_bits}, {sums}{shifted}",
    ]


def _stored(kernel: ChannelHalves, pair: int) -> list[str]:
    sums, bits = _SUMS[pair], kernel.out_storage
    ends = ["vmov r2, s4", "cmp lr, r2", "beq.w 9f"]
    last = (kernel.tail - 1) // 2
    if bits == 8:
        odd = pair == last and kernel.tail % 2 == 1
        lines = ["strb.w r1, [lr], #1", *(ends if odd else []), f"strb.w {sums}, [lr], #1"]
        return [*lines, *(ends if pair == last and not odd else [])]
    if bits == 4:
        lines = [f"orr.w r1, r1, {sums}, lsl #4", "strb.w r1, [lr], #1"]
        return [*lines, *(ends if pair == last else [])]
    if pair % 2 == 0:
        return [f"orr.w {sums}, r1, {sums}, lsl #2"]
    lines = [
        f"orr.w r1, r1, {sums}, lsl #2",
        f"orr.w r1, {_SUMS[pair - 1]}, r1, lsl #4",
        "strb.w r1, [lr], #1",
    ]
    return [*lines, *(ends if pair == last | 1 else [])]
