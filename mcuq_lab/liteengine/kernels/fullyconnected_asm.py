"""Fully connected layers of byte pairs (`le_fullyconnected_bytes.h`) in Thumb-2 assembly for
Armv7E-M with an FPU: the whole kernel, of 8-bit activations.

A tile is 1, 2 or 3 pairs of output channels; a kernel has loops over tiles of two sizes at most.

    r0 the word of activations before the next one, in the epilogue outputs
    r1 the word of weights before the next one
    r2, r3 activations of even and odd places; in the epilogue, with r4 and r5, constants
    r4 - r7 words of weights (of three pairs, r4 - r6); in the epilogue r6 constants' address
    r7 - r12 (of two pairs, r9 - r12) for each pair in turn: sum of whole halves, of lower bytes
    r8 end of the activations, where three pairs leave it free

The epilogue of three pairs is entered behind its first one by tiles of two.

Words of weights and code come from the same flash. Loads of 16 bits, an even number side by side
so that what follows stays aligned, let the code's words run ahead of the core.

Everything else waits in registers of the floating-point unit:

    s0, s1 last word of the activations, the one before the first   s2 outputs
    s3 word before the next channel's constants   s4 pairs left   s5 sum of the activations
    s6 end of the outputs
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_TILE_PAIRS = 3

_ROUND_INPUTS = 8
_CONSTANT_BYTES = 12
_BRANCH_CYCLES = 2


@dataclass(frozen=True)
class BytePairs:
    """What a kernel is specialised by.

    Attributes:
        tiles: pairs of channels of a tile, descending; a last size of 2 takes over when 2 or 4
            pairs are left.
        odd: there is one channel less than the pairs hold.
        out_storage: 8 or 4 bits.
        out_bits, pre_shift, shift: of the requantization.
    """

    tiles: tuple[int, ...]
    odd: bool
    out_storage: int
    out_bits: int
    pre_shift: int
    shift: int

    @property
    def name(self) -> str:
        """Of the tiles: part of the kernel's name."""
        return "".join(str(pairs) for pairs in self.tiles) + ("odd" if self.odd else "")


def byte_pairs_assembly(kernel: BytePairs) -> list[str]:
    """Instructions of `void (const le_fullyconnected_layer *, const uint8_t *in, uint8_t *out)`.

    Local labels are numbers: 2 round, 3 tile, 4 and 6 sum of the activations and its end, 7
    epilogue of the second size of tiles, 8 its tile.
    """
    largest, *smaller = kernel.tiles
    lines = ["push {r4-r11, lr}", *_prologue(kernel), *_placed(largest), "3:", *_tile(largest)]
    for pair in range(largest, 0, -1):
        lines += ["7:"] if [pair] == smaller else []
        lines += _pair_outputs(kernel, pair)
    lines += _ENDS
    lines += ["cmp r2, #4", "bhi.w 3b"] if smaller else []
    lines += ["cmp r2, #0", "bne.w 8f" if smaller else "bne.w 3b", "pop {r4-r11, pc}"]
    for pairs in smaller:
        lines += [*_placed(pairs), "8:", *_tile(pairs), "b.w 7b"]
    return lines


def byte_pairs_cycles(tiles: list[int], inputs: int, odd: bool) -> int:
    """Cycles of the tiles (pairs of channels of each): an instruction takes one, a load after
    something else one more."""
    shape = BytePairs((), odd, 8, 8, 1, 1)
    rounds = -(-inputs // _ROUND_INPUTS)
    cycles = 64 + rounds * 6
    for pairs in tiles:
        around = [*_starts(pairs), *_LEFT, *_ENDS]
        for pair in range(pairs):
            around += _pair_outputs(shape, pair + 1)
        cycles += rounds * (_issued(_round(pairs)) + _BRANCH_CYCLES) + _issued(around) + 7
    return cycles


def _issued(lines: list[str]) -> int:
    loads = [line.startswith("ldr") for line in lines]
    first_loads = sum(now > before for before, now in zip([False, *loads], loads, strict=False))
    return len(lines) + first_loads


def _prologue(kernel: BytePairs) -> list[str]:
    return [
        "ldm r0, {r3-r7}",
        "subs r0, r1, #4",
        "vmov s1, r0",
        "vmov s2, r2",
        "subs r7, #4",
        "vmov s3, r7",
        *(["add r2, r4", "vmov s6, r2"] if kernel.odd else []),
        "adds r4, #1",
        "lsrs r4, r4, #1",
        "vmov s4, r4",
        "adds r0, r1, r3",
        "subs r2, r0, #4",
        "vmov s0, r2",
        "movs r2, #0",
        "movs r7, #0",
        "lsls r3, r3, #28",
        "bpl.n 4f",
        "ldr.w r8, [r1], #4",
        "ldr.w r9, [r1], #4",
        "usada8 r7, r8, r2, r7",
        "usada8 r7, r9, r2, r7",
        "cmp r0, r1",
        "beq.n 6f",
        ".p2align 2",
        "4:",
        "ldr.w r8, [r1, #4]",
        "ldr.w r9, [r1, #8]",
        "ldr.w r10, [r1, #12]",
        "ldr.w r11, [r1], #16",
        "usada8 r7, r8, r2, r7",
        "usada8 r7, r9, r2, r7",
        "usada8 r7, r10, r2, r7",
        "usada8 r7, r11, r2, r7",
        "cmp r0, r1",
        "bne.n 4b",
        "6:",
        "vmov s5, r7",
        "subs r1, r6, #4",
    ]


def _placed(pairs: int) -> list[str]:
    """Puts the tile where its round begins 8 or 12 bytes behind a line of flash, of 16 bytes: there
    it takes the fewest cycles, 62 of three pairs and 43 of two; elsewhere up to two more."""
    return [".p2align 4", *(["nop.w"] if pairs == 2 else [])]


_LEFT = ("vmov s4, r2", "vmov lr, s5", "vmov r6, s3", "vmov r0, s2")
_ENDS = ("vmov s2, r0", "vmov s3, r6", "vmov r2, s4")


def _tile(pairs: int) -> list[str]:
    """From the start values to the epilogue."""
    products = ["2:", *_round(pairs), "bne.n 2b"]
    return [*_starts(pairs), *products, "vmov r2, s4", f"subs r2, #{pairs}", *_LEFT]


def _sums(pairs: int) -> list[tuple[str, str]]:
    """(sum of whole halves, sum of lower bytes) of each pair."""
    return [_sums_of(pair) for pair in range(pairs, 0, -1)]


def _sums_of(pair: int) -> tuple[str, str]:
    """Those of a pair, counted from the tile's last one, 1."""
    return f"r{13 - 2 * pair}", f"r{14 - 2 * pair}"


def _words(pairs: int) -> list[str]:
    """Registers for words of weights."""
    return [f"r{4 + word}" for word in range({1: 2, 2: 4, 3: 3}[pairs])]


def _starts(pairs: int) -> list[str]:
    """Both sums begin such that their difference is 256 times the upper channel's."""
    lines = ["vmov r6, s3"]
    for pair, (whole, lower) in enumerate(_sums(pairs)):
        low = 2 * pair * _CONSTANT_BYTES + 4
        lines.append(f"ldr.w {lower}, [r6, #{low}]")
        lines.append(f"ldr.w {whole}, [r6, #{low + _CONSTANT_BYTES}]")
    lines += [f"add {whole}, {lower}, {whole}, lsl #8" for whole, lower in _sums(pairs)]
    lines.append("vmov r0, s1")
    return [*lines, *([] if pairs == LARGEST_TILE_PAIRS else ["vmov r8, s0"])]


def _round(pairs: int) -> list[str]:
    """Products of eight inputs, two words of activations; flags tell whether they were the last."""
    lines = []
    sums, registers = _sums(pairs), _words(pairs)
    words = 4 * pairs
    for quad in range(2):
        begin, end = quad * words // 2, (quad + 1) * words // 2
        for first in range(begin, end, len(registers)):
            group = range(first, min(first + len(registers), end))
            loads = [f"r3, [r0, #{4 * quad + 4}]{'!' if quad else ''}"] if first == begin else []
            for word, place in zip(registers, group, strict=False):
                last = place == words - 1
                loads.append(f"{word}, [r1, #{4 * place + 4}]{'!' if last else ''}")
            lines += _aligned(loads)
            lines += ["uxtb16 r2, r3", "uxtb16 r3, r3, ror #8"] if first == begin else []
            for word, place in zip(registers, group, strict=False):
                whole, lower = sums[place // 2 % pairs]
                activations = "r3" if place % 2 else "r2"
                lines += [
                    f"smlad {whole}, {activations}, {word}, {whole}",
                    f"uxtb16 {word}, {word}",
                    f"smlad {lower}, {activations}, {word}, {lower}",
                ]
    if pairs == LARGEST_TILE_PAIRS:
        return [*lines, "vmov r2, s0", "cmp r0, r2"]
    return [*lines, "cmp r0, r8"]


def _aligned(loads: list[str]) -> list[str]:
    """Loads of 16 bits as far as they do not move their base, but an even number of them."""
    short = [not load.endswith("!") for load in loads]
    if sum(short) % 2:
        short[len(short) - 1 - short[::-1].index(True)] = False
    return [
        f"ldr.{'n' if is_short else 'w'} {load}"
        for load, is_short in zip(loads, short, strict=True)
    ]


def _pair_outputs(kernel: BytePairs, pair: int) -> list[str]:
    """Sums of a pair, counted from the last one, 1, become outputs, which are stored."""
    whole, lower = _sums_of(pair)
    return [
        "ldr.n r2, [r6, #8]",
        "ldr.n r3, [r6, #12]",
        "ldr.w r4, [r6, #20]",
        "ldr.w r5, [r6, #24]!",
        f"sub {whole}, {whole}, {lower}",
        f"sub {lower}, {lower}, lr, lsl #7",
        *_shifted(lower, kernel.pre_shift),
        *_shifted(whole, kernel.pre_shift - 8),
        f"smmla {lower}, {lower}, r2, r3",
        f"smmla {whole}, {whole}, r4, r5",
        _saturated(lower, kernel),
        _saturated(whole, kernel),
        *_stored(kernel, lower, whole, is_last=pair == 1),
    ]


def _shifted(register: str, left: int) -> list[str]:
    if left == 0:
        return []
    return [f"{'lsl' if left > 0 else 'lsr'} {register}, {register}, #{abs(left)}"]


def _saturated(register: str, kernel: BytePairs) -> str:
    shifted = f", asr #{kernel.shift}" if kernel.shift else ""
    return f"usat {register}, #{kernel.out_bits}, {register}{shifted}"


def _stored(kernel: BytePairs, lower: str, whole: str, *, is_last: bool) -> list[str]:
    """Of an odd number of channels the last one has no neighbour; its field of 4 bits is 0."""
    if kernel.out_storage == 4:
        return [f"orr {lower}, {lower}, {whole}, lsl #4", f"strb.w {lower}, [r0], #1"]
    lines = [f"strb.w {lower}, [r0], #1"]
    if kernel.odd and is_last:
        return [*lines, "vmov r2, s6", "cmp r0, r2", "it ne", f"strbne.w {whole}, [r0], #1"]
    return [*lines, f"strb.w {whole}, [r0], #1"]
