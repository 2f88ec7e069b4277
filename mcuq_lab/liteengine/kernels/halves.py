"""Convolutions of any size as packed dot products: see `le_halves.h`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_struct
from mcuq_lab.liteengine.kernels.columns import COLUMN_BYTES, Column, padded_offsets
from mcuq_lab.liteengine.kernels.halves_constants import (
    FirstWords,
    OutputShifts,
    first_words,
    flash_weights,
    output_offsets,
    output_shifts,
)
from mcuq_lab.liteengine.kernels.halves_cycles import tile_cycles
from mcuq_lab.liteengine.kernels.halves_kernels import halves_kernel
from mcuq_lab.liteengine.kernels.halves_tile import HalvesTile
from mcuq_lab.liteengine.kernels.remembered import (
    constants_once,
    once_for_weights,
    selected_once,
    sizes_of,
    weights_digest,
)
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned, map_fields
from mcuq_lab.liteengine.lowering import ByRows, Lowered, ahead_of_input, near_fastest
from mcuq_lab.liteengine.packing.halves import (
    HalvesPacking,
    halves_packings,
    joint_halves,
    pair_cycles,
)
from mcuq_lab.quantgraph import QConv2d, QOp, QTensor
from mcuq_lab.quantize.ranges import accumulator_peak
from mcuq_lab.target import DEFAULT_TARGET, Target

_BANDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Bands in which a layer may be computed."""

_UNROLLS = (8, 16)
"""Pairs of terms that a round of the inner loop may have at most: the longer one takes flash."""

_LONGEST_SEGMENT = 24
"""Pairs of terms of a segment that may be a single round."""

_LAYER_BYTES = 72 + COLUMN_BYTES
_CALL_BYTES, _PART_BYTES = 128, 24  # as in le_halves.h
_CYCLES_OF_A_CALL = 290  # of the driver and the tile function, around the groups of a band
_CYCLES_OF_UNPACKING = 110  # of the function, around its words


@dataclass(frozen=True)
class _Costs:
    """Cycles whatever the band: of a tile, around those of a band and some channels, of packing a
    word of pixels, and of all copies."""

    tile: int
    band: float
    word: int
    copies: int


@dataclass(frozen=True, eq=False)
class _Choice:
    """A packing, and the sizes that decide loop and memory.

    `shifts` are those of packings of one and of two pixels; `unroll` pairs of terms make a round of
    the inner loop, `band` output pixels are packed at once. `known_costs` are those of a choice
    that differs in its band alone, if there is one.
    """

    op: QConv2d
    source: QTensor
    output: QTensor
    shifts: tuple[OutputShifts, OutputShifts]
    packing: HalvesPacking
    unroll: int
    band: int
    known_costs: _Costs | None = None

    @property
    def points(self) -> bool:
        """Whether windows are single pixels, all inside the input."""
        window = self.op.window
        return (window.kernel_h, window.kernel_w) == (1, 1) and not window.padded

    @property
    def group(self) -> int:
        """Output pixels of a tile."""
        return 2 * self.packing.pixels

    @property
    def channels(self) -> int:
        """Output channels of a tile."""
        return 4 * self.packing.channels

    @property
    def padded_channels(self) -> int:
        return _padded(self.op.out_channels, self.channels)

    @property
    def part_pairs(self) -> tuple[int, ...]:
        return tuple(_padded(pairs, self.unroll) for pairs in self.packing.pairs)

    @property
    def pairs(self) -> int:
        return sum(self.part_pairs)

    @property
    def flash_pairs(self) -> int:
        if self.packing.surplus:
            return self.pairs
        return _padded(sum(self.packing.pairs), 4 // self.packing.channels)

    @property
    def w_words(self) -> int:
        """Of weights, for a pair of terms."""
        return 2 if self.packing.bytes else 4

    @cached_property
    def scratch_bytes(self) -> int:
        """As `le_halves_begin` carves it."""
        packing, parts = self.packing, len(self.packing.pairs)
        line_pixels = self.group if self.op.out_channels % self.channels == 0 else self.band
        sizes = (
            _CALL_BYTES,
            parts * _PART_BYTES,
            self.band // self.group * (self.pairs + packing.surplus) * 8,
            0 if packing.surplus else max(self.pairs, self.flash_pairs) * 4 * self.w_words,
            line_pixels * self.channels * self.output.storage_bits // 8,
            0 if self.points else self.source.pixel_bytes,
        )
        return sum(eight_byte_aligned(size) for size in sizes)

    @cached_property
    def cycles(self) -> int:
        """Estimate: tiles, calls, packing, unpacking."""
        shape, costs = self.output.shape, self.costs
        pixels = shape.h * shape.w
        groups, tiles = -(-pixels // self.group), self.padded_channels // self.channels
        calls = groups * tiles * costs.tile + -(-pixels // self.band) * tiles * costs.band
        return int(calls + 2 * groups * costs.word + costs.copies)

    @property
    def costs(self) -> _Costs:
        if self.known_costs is not None:
            return self.known_costs
        band = _CYCLES_OF_A_CALL
        if not self.packing.surplus:
            words = self.w_words * self.flash_pairs
            band += _CYCLES_OF_UNPACKING + words * self._unpacked_word_cycles
        tile = tile_cycles(self.tile, self.part_pairs)
        return _Costs(tile, band, self._word_cycles, self._copy_cycles)

    @property
    def _unpacked_word_cycles(self) -> float:
        """Estimate: unpacking one word of weights: extraction, sign, store, its share of a loop."""
        packing, bits = self.packing, self.op.w_bits
        if joint_halves(bits, packing):
            return 3.5 + (bits + 7) / 8
        lane = 8 if packing.bytes else 16
        straddling = sum(k * bits % lane + bits > lane for k in range(lane)) / lane
        extraction = 1 + 3 * straddling
        if packing.channels == 2:
            return 2 * extraction + 3 + (bits + 7) / 8
        return extraction + 2 + (bits + 7) / lane

    @property
    def _word_cycles(self) -> int:
        """Estimate: packing one word of pixels."""
        packing, window, field_group = self.packing, self.op.window, 32 // self.source.storage_bits
        rounds, rest = divmod(self.source.shape.c, field_group)
        cycles = rounds * (6 + packing.pixels) + -(-rest // 2) * 12 * packing.pixels
        cycles += rounds * field_group // 2 * (2 * packing.pixels + packing.surplus)
        if self.points:
            return 20 + 30 * packing.pixels + cycles
        return 90 + window.kernel_h * window.kernel_w * (48 + cycles)

    @property
    def _copy_cycles(self) -> int:
        """Estimate: the channels of the last tile, where it is not a whole one."""
        rest, shape = self.op.out_channels % self.channels, self.output.shape
        each = 16 + 4 * (rest * self.output.storage_bits // 8)
        return shape.h * shape.w * each if rest else 0

    @property
    def tile(self) -> HalvesTile:
        packing, shifts = self.packing, self.output_shifts
        return HalvesTile(
            pixels=packing.pixels,
            channels=packing.channels,
            fields=packing.fields,
            unroll=self.unroll,
            parts=len(packing.pairs),
            bytes=packing.bytes,
            surplus=packing.surplus,
            out_bits=self.op.requantize.bits,
            pre_shift=shifts.pre_shift,
            shift=shifts.shift,
        )

    @property
    def output_shifts(self) -> OutputShifts:
        return self.shifts[self.packing.pixels - 1]


def lower_halves(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QConv2d`."""
    if not isinstance(op, QConv2d):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    packings = _packings(_terms(op, source), op.w_bits, source.bits)
    (peak,) = _peak(op.weight, source.qmax)
    shifts = tuple(output_shifts(op.requantize, peak, pixels) for pixels in (1, 2))
    little_flash = target.flash_bytes is not None
    offered = selected_once(
        ("halves", sizes_of(op, source, output), packings, shifts, little_flash),
        lambda: _choices(op, source, output, shifts, packings),
        partial(_best, little_flash=little_flash),
    )
    return tuple(_lowered(replace(way, op=op, source=source, output=output)) for way in offered)


def _best(choices: Iterable[_Choice], *, little_flash: bool) -> list[_Choice]:
    return near_fastest(
        choices,
        _kernel_parts,
        lambda way: way.cycles,
        lambda way: way.scratch_bytes,
        little_flash=little_flash,
    )


def _kernel_parts(choice: _Choice) -> tuple:
    """What tells its kernel from those of other ways to compute the same operator."""
    return choice.tile, choice.packing.toggle, choice.packing.a_shift, choice.packing.w_shift


def _choices(
    op: QConv2d,
    source: QTensor,
    output: QTensor,
    shifts: tuple[OutputShifts, OutputShifts],
    packings: Iterable[tuple[HalvesPacking, int]],
) -> Iterator[_Choice]:
    pixels = output.shape.h * output.shape.w
    for packing, unroll in sorted(packings, key=lambda some: str(some[0])):
        groups, costs = -(-pixels // (2 * packing.pixels)), None
        # Fewer bands unpack the weights less often, but take more scratch.
        for band_groups in sorted({-(-groups // bands) for bands in _BANDS}):
            band = band_groups * 2 * packing.pixels
            choice = _Choice(op, source, output, shifts, packing, unroll, band, costs)
            costs = choice.costs
            yield choice


@once_for_weights
def _packings(terms: np.ndarray, w_bits: int, a_bits: int) -> Iterator[tuple[HalvesPacking, int]]:
    """Packings, and pairs of a round: short ones, long ones, and as long as a segment."""
    pairs = terms.shape[1] // 2
    usual = sorted({_unroll(pairs, most) for most in _UNROLLS})
    segments = set()
    for unroll in usual:
        for packing in halves_packings(terms, w_bits, a_bits, unroll):
            segments.add(len(packing.pairs))
            yield packing, unroll
    for unroll in sorted({-(-pairs // count) for count in segments if count > 1} - set(usual)):
        if unroll <= _LONGEST_SEGMENT:
            for packing in halves_packings(terms, w_bits, a_bits, unroll):
                if len(packing.pairs) > 1:
                    yield packing, unroll


@once_for_weights
def _peak(weight: np.ndarray, qmax: int) -> Iterator[int]:
    """The largest accumulator of any channel."""
    yield int(accumulator_peak(weight, qmax).max())


def _terms(op: QConv2d, source: QTensor) -> np.ndarray:
    """Weights by output channel, in the order of the terms: int8 (oc, 2 * pairs)."""
    channels = source.shape.c
    group = 32 // source.storage_bits
    order: list[int] = []
    whole = channels // group * group
    for first in range(0, whole, group):
        for j in range(group // 2):
            order += [first + j, first + j + group // 2]
    order += range(whole, _padded(channels, 2))
    padded = np.zeros((*op.weight.shape[:3], _padded(channels, 2)), np.int8)
    padded[..., :channels] = op.weight
    return padded[..., order].reshape(op.out_channels, -1)


def _unroll(pairs: int, most: int) -> int:
    """Pairs of a round, no more than `most`: few rounds, and little padding in the last one."""
    return min(
        range(1, min(pairs, most) + 1),
        key=lambda unroll: 16 * _padded(pairs, unroll) + 5 * -(-pairs // unroll),
    )


def _padded(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _constants(choice: _Choice) -> tuple[np.ndarray, FirstWords]:
    """Weights in flash and first words, which follow from the layer's weights."""
    op, source, packing = choice.op, choice.source, choice.packing

    def work() -> tuple[np.ndarray, FirstWords]:
        terms = _terms(op, source)
        padded = np.zeros((choice.padded_channels, terms.shape[1]), np.int64)
        padded[: op.out_channels] = terms
        weights = flash_weights(packing, op.w_bits, padded, choice.flash_pairs)
        return weights, first_words(packing, padded, source.bits)

    known = ("halves", weights_digest(op.weight), op.w_bits, source.storage_bits, source.bits)
    return constants_once((*known, packing, choice.padded_channels, choice.flash_pairs), work)


def _lowered(choice: _Choice) -> Lowered:
    op, source, output, packing = choice.op, choice.source, choice.output, choice.packing
    name = c_identifier(op.name)
    kernel, files = halves_kernel(op.w_bits, source.bits, packing, choice.tile)
    weights, first = _constants(choice)
    missing = choice.padded_channels - op.out_channels
    multipliers = np.pad(op.requantize.multiplier, (0, missing))
    offset = output_offsets(op.requantize, choice.output_shifts)
    offsets = Column(f"{name}_offsets", padded_offsets(offset, missing))
    window = op.window
    fields = {
        **map_fields(source, output),
        "out_c": op.out_channels,
        "kernel_h": window.kernel_h,
        "kernel_w": window.kernel_w,
        "stride_h": window.stride_h,
        "stride_w": window.stride_w,
        "pad_top": window.pad_top,
        "pad_left": window.pad_left,
        "zero_point": source.zero_point,
        "part_count": len(packing.pairs),
        "points": int(choice.points),
        "offset_shift": choice.output_shifts.offset_shift,
        "pairs": choice.pairs,
        "flash_pairs": choice.flash_pairs,
        "band": choice.band,
        "tile_bytes": weights.shape[1],
        "weights": f"{name}_weights",
        "part_pairs": f"{name}_part_pairs",
        "multipliers": f"{name}_multipliers",
        "offsets": offsets.fields,
        "first": f"{name}_first",
        "narrow_first": int(first.factors is not None),
        "first_base": first.base,
        "first_factors": "{{{}, {}}}".format(*(first.factors or (0, 0))),
    }
    return Lowered(
        kernel=kernel,
        packing=str(packing),
        files=files,
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", weights)
            + c_array("int32_t", f"{name}_multipliers", multipliers)
            + offsets.declaration
            + c_array(f"uint{8 * first.word_bytes}_t", f"{name}_first", first.words)
            + c_array("uint16_t", f"{name}_part_pairs", np.array(choice.part_pairs), 2)
            + c_struct("le_halves_layer", f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size
        + 4 * multipliers.size
        + offsets.size_bytes
        + first.word_bytes * first.words.size
        + 2 * len(packing.pairs)
        + _LAYER_BYTES,
        scratch_bytes=choice.scratch_bytes,
        ahead=ahead_of_input(source, _written_and_unread(choice)),
        by_rows=ByRows("le_halves_layer"),
        predicted_cycles=choice.cycles,
        limit_macs_per_cycle=2 * choice.group * choice.channels / pair_cycles(packing),
    )


def _written_and_unread(choice: _Choice) -> Iterator[tuple[int, int]]:
    """After each band but the last: bytes written, and where the next one begins to read."""
    window, source, output = choice.op.window, choice.source, choice.output
    single_pixel = (window.kernel_h, window.kernel_w, window.stride_h, window.stride_w) == (1,) * 4
    for done in range(choice.band, output.shape.h * output.shape.w, choice.band):
        if single_pixel and not window.padded:
            unread = done
        else:  # the row where the next window begins
            row = done // output.shape.w * window.stride_h - window.pad_top
            unread = max(row, 0) * source.shape.w
        yield done * output.pixel_bytes, unread * source.pixel_bytes
