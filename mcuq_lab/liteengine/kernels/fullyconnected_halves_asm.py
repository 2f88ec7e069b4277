"""Fully connected layers of halves (`le_fullyconnected_halves.h`) in Thumb-2 assembly for Armv7E-M
with an FPU: the whole kernel.

    r0 activations; in the epilogue constants
    r1 the word of weights before the next one; in the epilogue sum of a group's lower channel
    r2 word of activations, r3 a pair of them; in the epilogue, with r4 - r7, constants
    r4 - r7 words of weights
    r8 - r12 sums of the halves in turn
    lr mask of an activation in either half, of bytes end of the segment; in the epilogue outputs

The end of the segment waits in r12 where that is free. Registers of the floating-point unit:

    s0 end of the segment    s1 the activations    s2 outputs    s3 constants of the tile
    s4 end of the outputs    s5 weights    s6 end of the activations
    s8 - s12 the lower channels' sums up to the last segment
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

MOST_SUMS = 5
MOST_SEGMENT_BYTES = 4095
"""Of activations, as an ADDW can add."""

_WORDS = ("r4", "r5", "r6", "r7")
_SUMS = ("r8", "r9", "r10", "r11", "r12")
_LOWER_SUMS = ("s8", "s9", "s10", "s11", "s12")
_CONSTANTS = ("r2", "r3", "r4", "r5", "r6", "r7")
_CONSTANT_BYTES = 12
_BRANCH_CYCLES = 2


@dataclass(frozen=True)
class ChannelHalves:
    """What a kernel is specialised by.

    Attributes:
        groups: of channels in a tile: one a half, two in a half, or a chain of n in n - 1 halves;
            5 halves at most. Unless a tile is the only one, it fills whole bytes of outputs.
        tail: channels of the last tile that are stored.
        in_storage, out_storage: 2, 4 or 8 bits.
        field_bits: of the lower channel in a half.
        round_inputs: inputs of a round of the loop.
        segment_inputs: inputs of a segment, 0: a row is one; else all groups are of two.
        whole: a row is whole segments.
        out_bits, pre_shift, shift: of the requantization.
    """

    groups: tuple[int, ...]
    tail: int
    in_storage: int
    out_storage: int
    field_bits: int
    round_inputs: int
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
        field = f"s{self.field_bits}" if max(self.groups) > 1 else ""
        groups = "".join(map(str, self.groups))
        return f"{groups}t{self.tail}r{self.round_inputs}{field}{segments}"

    @property
    def halves(self) -> int:
        """Of an input in a tile."""
        return sum(map(halves_of_group, self.groups))

    @property
    def channels(self) -> int:
        """Of a tile."""
        return sum(self.groups)


def halves_of_group(channels: int) -> int:
    """Halves that a group of so many channels takes."""
    return max(channels - 1, 1)


def round_inputs(in_storage: int) -> tuple[int, ...]:
    """Inputs that a round of the loop may take, whole words of activations."""
    return (16,) if in_storage == 2 else (8, 16)


def halves_assembly(kernel: ChannelHalves) -> list[str]:
    """Instructions of `void (const le_fullyconnected_layer *, const uint8_t *in, uint8_t *out)`.

    Local labels are numbers: 2 round, 3 tile, 4 segment, 9 the end.
    """
    lines = [*_prologue(kernel), *_placed(kernel), "3:", *_starts(kernel)]
    if kernel.segment_inputs:
        lines += ["4:", *_segment_start(kernel)]
    lines += ["2:", *_round(kernel), *_compared(kernel), "bne.w 2b"]
    if kernel.segment_inputs:
        lines += [*_segment_end(kernel), "bne.w 4b"]
    return [*lines, *_outputs(kernel), "b.w 3b", "9:", "pop {r4-r11, pc}"]


def halves_cycles(kernel: ChannelHalves, inputs: int, tiles: int) -> int:
    """Cycles of a layer: an instruction takes one, a load after something else one more."""
    rounds = -(-inputs // kernel.round_inputs)
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


def _placed(kernel: ChannelHalves) -> list[str]:
    """Puts the tile at the place in a line of flash where it takes the fewest cycles: up to 20 of a
    thousand more elsewhere, because loads from flash delay the fetch of a line."""
    return [".p2align 4", *(["nop.w"] if kernel.in_storage == 8 else [])]


def _end_register(kernel: ChannelHalves) -> str | None:
    """Where the end of a segment waits during its rounds, None: no register is free."""
    if kernel.in_storage == 8:
        return "lr"
    return "r12" if kernel.halves < MOST_SUMS else None


def _starts(kernel: ChannelHalves) -> list[str]:
    lines = ["vmov r0, s1", *(f"mov.w {sums}, #0" for sums in _SUMS[: kernel.halves])]
    if kernel.segment_inputs:
        lines += [f"vmov {lower}, {_SUMS[0]}" for lower in _LOWER_SUMS[: kernel.halves]]
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
    used = [(f"r{2 + pair}", _LOWER_SUMS[pair], _SUMS[pair]) for pair in range(kernel.halves)]
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
    return [f"cmp.w r0, {end}"] if end else ["vmov r3, s0", "cmp.w r0, r3"]


def _round(kernel: ChannelHalves) -> list[str]:
    """Products of a round. Weights are loaded four words at a time, whichever step they are of."""
    per_word, halves = 16 // kernel.in_storage, kernel.halves
    lines: list[str] = []
    for first in range(0, kernel.round_inputs // 2 * halves, 4):
        steps = [divmod(word, halves) for word in range(first, first + 4)]
        # A word of activations is loaded with the weights if the one before is used up by then.
        begun = [step for step, half in steps if half == 0 and step % per_word == 0]
        early = [step for step in begun if step == 0 or (step - 1) * halves < first]
        lines += ["ldr.w r2, [r0], #4"] if early else []
        base = first % (4 * halves)
        for place, word in enumerate(_WORDS):
            offset = 4 * (base + place + 1)
            moves_base = base + place + 1 == 4 * halves
            # An even number of loads of 16 bits, so that what follows stays aligned.
            is_wide = moves_base or base + place + 2 == 4 * halves
            width, back = "w" if is_wide else "n", "!" if moves_base else ""
            lines.append(f"ldr.{width} {word}, [r1, #{offset}]{back}")
        for (step, half), word in zip(steps, _WORDS, strict=True):
            if half == 0:
                lines += ["ldr.w r2, [r0], #4"] if step in begun and step not in early else []
                lines.append(_extracted(kernel.in_storage, step % per_word))
            lines.append(f"smlad {_SUMS[half]}, r3, {word}, {_SUMS[half]}")
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
    sums = _separated(kernel)
    for first in range(0, kernel.channels, 2):
        two = sums[first : first + 2]
        for each in two:
            lines += each.before
        lines += _requantized(kernel, first, two)
        lines += _stored(kernel, first, [each.register for each in two])
    return [*lines, f"adds r0, #{_CONSTANT_BYTES * kernel.channels}", "vmov s3, r0",
            "vmov s2, lr", "vmov r1, s5"]  # fmt: skip


@dataclass(frozen=True)
class _Sum:
    """Where a channel's sum is, `field_bits` too high if it is `upper`, once `before` has run."""

    register: str
    upper: bool = False
    before: tuple[str, ...] = ()


def _separated(kernel: ChannelHalves) -> list[_Sum]:
    """The channels' sums. r1 is the only register besides those of the halves: a group's second
    channel, of two the first one, is in it until the next group's first one is taken."""
    sums, bits, found = list(_SUMS), kernel.field_bits, []
    for group in kernel.groups:
        halves = [sums.pop(0) for _ in range(halves_of_group(group))]
        half = halves[0]
        if group == 1:
            found.append(_Sum(half))
        elif group == 2:
            lower = f"sbfx r1, {half}, #0, #{bits}"
            if kernel.segment_inputs:
                lower = f"vmov r1, {_LOWER_SUMS[_SUMS.index(half)]}"
            found.append(_Sum("r1", before=(lower, f"sub.w {half}, {half}, r1")))
            found.append(_Sum(half, upper=True))
        else:
            first = (
                f"asr.w r2, {half}, #{bits}",
                f"sub.w r1, {halves[1]}, r2",
                f"sbfx r1, r1, #0, #{bits}",
                "add r1, r2",
                f"sub.w {half}, {half}, r1, lsl #{bits}",
                f"sub.w {halves[1]}, {halves[1]}, r1",
            )
            found += [_Sum(half, before=first), _Sum("r1")]
            for lower, upper in pairwise(halves[1:]):
                exact = (f"asr.w {lower}, {lower}, #{bits}", f"sub.w {upper}, {upper}, {lower}")
                found.append(_Sum(lower, before=exact))
            found.append(_Sum(halves[-1], upper=True))
    return found


def _requantized(kernel: ChannelHalves, first: int, sums: Sequence[_Sum]) -> list[str]:
    """Of one or two channels, those from `first` of the tile."""
    lines = []
    for place in range(3 * len(sums)):
        lines.append(f"ldr.n {_CONSTANTS[place]}, [r0, #{_CONSTANT_BYTES * first + 4 * place}]")
    registers = [each.register for each in sums]
    for place, each in enumerate(sums):
        shifted = f", asr #{kernel.field_bits}" if each.upper else ""
        start = _CONSTANTS[3 * place]
        lines.append(f"add.w {each.register}, {start}, {each.register}{shifted}")
    if kernel.pre_shift:
        lines += [f"lsl.w {register}, {register}, #{kernel.pre_shift}" for register in registers]
    for place, register in enumerate(registers):
        multiplier, offset = _CONSTANTS[3 * place + 1 : 3 * place + 3]
        lines.append(f"smmla {register}, {register}, {multiplier}, {offset}")
    shifted = f", asr #{kernel.shift}" if kernel.shift else ""
    return [*lines, *(f"usat {each}, #{kernel.out_bits}, {each}{shifted}" for each in registers)]


def _stored(kernel: ChannelHalves, first: int, registers: Sequence[str]) -> list[str]:
    """Of outputs of 2 bits the second pair of a byte is stored with the first one, which waits."""
    bits = kernel.out_storage
    ends = ["vmov r2, s4", "cmp lr, r2", "beq.w 9f"]
    if bits == 8:
        lines = []
        for channel, register in enumerate(registers, first + 1):
            lines.append(f"strb.w {register}, [lr], #1")
            lines += ends if channel == kernel.tail else []
        return lines
    low, *others = registers
    waits = bits == 2 and first % 4 == 0 and first + 2 < kernel.channels
    lines = [f"orr.w {low}, {low}, {each}, lsl #{bits}" for each in others]
    if waits:
        return [f"orr.w {_kept(registers)}, {low}, {others[0]}, lsl #2"]
    if bits == 2 and first % 4 == 2:
        before = [each.register for each in _separated(kernel)[first - 2 : first]]
        lines.append(f"orr.w {low}, {_kept(before)}, {low}, lsl #4")
    is_last = first + 2 >= kernel.tail > first + 2 - 8 // bits
    return [*lines, f"strb.w {low}, [lr], #1", *(ends if is_last else [])]


def _kept(registers: Sequence[str]) -> str:
    """That of two channels' registers which the next group leaves alone."""
    return next(register for register in registers if register != "r1")
