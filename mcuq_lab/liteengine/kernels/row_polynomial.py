"""3x3 convolutions with stride 1 as products of polynomials: see `le_row_polynomial.h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_struct
from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.kernels.row_polynomial_asm import Tile, tile_assembly
from mcuq_lab.liteengine.kernels.specialise import kernel_header, specialised
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.packing import (
    RowPacking,
    row_packings,
    segment_weights,
    start_values,
    tile_cycles,
)
from mcuq_lab.quantgraph import QConv2d, QOp, QTensor
from mcuq_lab.sources import SourceFile

SCRATCH_BYTES = 8192
"""Bands are as high as this much scratch allows: fewer bands unpack the weights less often."""

_LAYER_BYTES = 48
_CALL_BYTES = 160  # LE_ROW_CALL_BYTES
_SEGMENT_BYTES = 8
_CYCLES_OF_A_CALL = 230  # of the driver and the tile function, around the blocks of two rows


@dataclass(frozen=True, eq=False)
class _Choice:
    """A packing, and the sizes that decide loop and memory.

    `unroll` channels make a round of the inner loop, `pairs` pairs of output rows a band.
    """

    op: QConv2d
    source: QTensor
    output: QTensor
    packing: RowPacking
    unroll: int
    pairs: int

    @property
    def slots(self) -> int:
        return 2 * self.pairs + 2

    @property
    def padded_channels(self) -> int:
        return _padded(self.source.shape.c, self.unroll)

    @property
    def fields(self) -> int:
        """Fields of a row up to its last output: those before the first output count."""
        return 2 - self.op.window.pad_left + self.output.shape.w

    @property
    def flush(self) -> bool:
        """Whether the last output has met all pixels of the row when it is carried."""
        width = self.source.shape.w
        return (
            self.packing.words == 1
            and self.op.window.pad_right == 1
            and width % self.packing.pixels == 0
        )

    @property
    def blocks(self) -> int:
        return -(-(self.fields - self.flush) // self.packing.pixels)

    @property
    def entries(self) -> int:
        if self.packing.words == 2:
            return (self.blocks + 1) * self.padded_channels
        return self.blocks * len(self.packing.a_slices) * self.padded_channels

    @property
    def weight_sums(self) -> bool:
        """Whether start values need the sums of the weights."""
        return self.packing.toggle or self.source.zero_point != 0

    @property
    def scratch_bytes(self) -> int:
        """As `le_row_begin` carves it."""
        packing = self.packing
        columns = self.blocks * packing.pixels
        w_bytes = 24 * packing.words * len(packing.w_slices) * self.padded_channels
        sizes = (
            len(packing.segments) * _CALL_BYTES,
            4 * self.entries * self.slots,
            w_bytes,
            16 * columns if len(packing.segments) > 1 else 0,
            4 * columns,
            self.source.pixel_bytes,
        )
        return sum(eight_byte_aligned(size) for size in sizes)

    @property
    def cycles(self) -> int:
        """Estimate: tiles, calls, packing, unpacking."""
        shape, packing = self.output.shape, self.packing
        row_pairs, channel_pairs = (shape.h + 1) // 2, (shape.c + 1) // 2
        bands = -(-row_pairs // self.pairs)
        tile = tile_cycles(packing, self.source.shape.c, self.unroll, self._pre_shifted)
        calls = (
            row_pairs
            * channel_pairs
            * (self.blocks * tile + _CYCLES_OF_A_CALL * len(packing.segments))
        )
        weights = channel_pairs * self.padded_channels * 6 * len(packing.w_slices)
        words = self.blocks * len(packing.a_slices) * self.source.shape.c
        rows = shape.h + 2 * bands
        return int(
            calls + bands * (7 * weights + 8 * words * 2) + rows * words * (2 * packing.pixels + 3)
        )

    @property
    def _pre_shifted(self) -> bool:
        return self.op.requantize.pre_shift > 0

    @property
    def tile(self) -> Tile:
        packing, requantize = self.packing, self.op.requantize
        middle = sorted({segment.shift for segment in packing.segments[1:-1]})
        return Tile(
            pixels=packing.pixels,
            field_bits=packing.field_bits,
            words=packing.words,
            slots=self.slots,
            unroll=self.unroll,
            segmented=len(packing.segments) > 1,
            surplus=len(packing.w_slices) > 1,
            last_shift=packing.segments[-1].shift,
            middle_shifts=tuple(middle),
            out_bits=requantize.bits,
            pre_shift=requantize.pre_shift,
            shift=requantize.shift,
        )


def lower_row_polynomial(op: QOp, tensors: Mapping[str, QTensor]) -> Lowered | None:
    """A 3x3 `QConv2d` with stride 1 and at most one column of padding on either side."""
    if not isinstance(op, QConv2d) or not _applies(op):
        return None
    source, output = tensors[op.inputs[0]], tensors[op.output]
    choices = tuple(_choices(op, source, output))
    return _lowered(min(choices, key=lambda choice: choice.cycles)) if choices else None


def _applies(op: QConv2d) -> bool:
    window = op.window
    return (window.kernel_h, window.kernel_w, window.stride_h, window.stride_w) == (
        3,
        3,
        1,
        1,
    ) and max(window.pad_left, window.pad_right) <= 1


def _choices(op: QConv2d, source: QTensor, output: QTensor) -> Iterator[_Choice]:
    channels = source.shape.c
    unroll = {words: _unroll(channels, longest) for words, longest in ((1, 8), (2, 4))}
    for words, granule in unroll.items():
        for packing in row_packings(op.weight, op.w_bits, source.bits, granule):
            if packing.words != words:
                continue
            highest = min(4, (output.shape.h + 1) // 2)
            for pairs in range(1, highest + 1):
                choice = _Choice(op, source, output, packing, granule, pairs)
                if pairs == 1 or choice.scratch_bytes <= SCRATCH_BYTES:
                    yield choice


def _unroll(channels: int, longest: int) -> int:
    """Channels of a round: few rounds, and few channels of padding in the last one."""
    return min(
        range(1, min(channels, longest) + 1),
        key=lambda unroll: 25 * _padded(channels, unroll) + 7 * -(-channels // unroll),
    )


def _padded(channels: int, unroll: int) -> int:
    return -(-channels // unroll) * unroll


def _lowered(choice: _Choice) -> Lowered:
    op, source, packing = choice.op, choice.source, choice.packing
    name = c_identifier(op.name)
    kernel, files = _kernel(op.w_bits, source.bits, source.storage_bits, packing, choice.tile)
    weights = _flash_weights(op)
    channels = _channel_table(choice)
    segments = _segment_table(choice)
    fields = {
        "in_h": source.shape.h,
        "in_w": source.shape.w,
        "in_c": source.shape.c,
        "out_h": choice.output.shape.h,
        "out_w": choice.output.shape.w,
        "out_c": op.out_channels,
        "blocks": choice.blocks,
        "padded_c": choice.padded_channels,
        "pad_top": op.window.pad_top,
        "pad_left": op.window.pad_left,
        "pad_right": op.window.pad_right,
        "zero_point": source.zero_point,
        "flush": int(choice.flush),
        "segment_count": len(packing.segments),
        "channel_words": channels.shape[1],
        "segment_words": 6 if choice.weight_sums else 2,
        "pair_bytes": weights.shape[1],
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
        "segments": f"{name}_segments",
    }
    # The unpacker reads whole words.
    flash = np.concatenate([weights.reshape(-1), np.zeros(3, np.uint8)])
    return Lowered(
        kernel=kernel,
        packing=str(packing),
        files=files,
        declarations=c_array("uint8_t", f"{name}_weights", flash)
        + c_array("int32_t", f"{name}_channels", channels)
        + f"static const le_row_segment {name}_segments[{len(segments)}] = {{\n"
        + "".join(f"    {{{', '.join(map(str, row))}}},\n" for row in segments)
        + "};\n"
        + c_struct("le_row_layer", f"{name}_layer", fields),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=flash.size
        + 4 * channels.size
        + _SEGMENT_BYTES * len(segments)
        + _LAYER_BYTES,
        scratch_bytes=choice.scratch_bytes,
        in_place=(0,) if _allows_in_place(choice) else (),
        predicted_cycles=choice.cycles,
    )


def _allows_in_place(choice: _Choice) -> bool:
    """Whether each band's outputs, written at the input's address, spare the rows to come."""
    window, source, output = choice.op.window, choice.source, choice.output
    band = 2 * choice.pairs
    for y in range(0, output.shape.h, band):
        packed = y + band + 2 - window.pad_top  # input rows
        written = min(y + band, output.shape.h) * output.shape.w * output.pixel_bytes
        if (
            packed < source.shape.h
            and written > max(packed, 0) * source.shape.w * source.pixel_bytes
        ):
            return False
    return True


def _flash_weights(op: QConv2d) -> np.ndarray:
    """Weights as `le_row_unpack` reads them: uint8 (pairs of output channels, bytes)."""
    pairs, group = (op.out_channels + 1) // 2, 2 if op.w_bits == 2 else 1
    padded = np.zeros((2 * pairs, 3, 3, _padded(op.weight.shape[3], group)), np.int8)
    padded[: op.out_channels, ..., : op.weight.shape[3]] = op.weight
    # (pair, oc, ky, kx, ic) -> (pair, ic, ky, oc, columns 2 to 0)
    ordered = padded.reshape(pairs, 2, 3, 3, -1).transpose(0, 4, 2, 1, 3)[..., ::-1]
    groups = ordered.reshape(pairs, -1, 18 * group)
    return pack_stream(groups, op.w_bits).reshape(pairs, -1)


def _channel_table(choice: _Choice) -> np.ndarray:
    """`le_row_layer.channels`: int64 (output channels rounded up to pairs, words)."""
    op, packing, source = choice.op, choice.packing, choice.source
    starts, surplus = start_values(packing, op.weight, source.bits)
    columns = [op.requantize.multiplier, op.requantize.offset, surplus]
    uppermost_column = 0 if packing.words == 1 else 1
    for segment, start in zip(packing.segments, starts, strict=True):
        part = segment_weights(segment, op.weight)
        last = np.maximum(-part[:, :, uppermost_column], 0).sum(axis=(1, 2))
        columns += [start, segment.a_slice.amax * last]
        if choice.weight_sums:
            sums = part.sum(axis=(1, 3))
            zero_point = np.full(len(part), segment.a_slice.of_activation(source.zero_point))
            columns += [sums[:, 2], sums[:, 1], sums[:, 0], zero_point]
    table = np.stack([np.asarray(column, np.int64) for column in columns], axis=1)
    odd = np.zeros((op.out_channels % 2, table.shape[1]), np.int64)
    return np.concatenate([table, odd])


def _segment_table(choice: _Choice) -> list[tuple[int, int, int, int, int]]:
    """`le_row_segment` of each segment."""
    packing, padded = choice.packing, choice.padded_channels
    last = len(packing.segments) - 1
    rows = []
    for index, segment in enumerate(packing.segments):
        if index == last:
            mode = 0
        else:
            mode = 1 if index == 0 else 2 + choice.tile.middle_shifts.index(segment.shift)
        rows.append(
            (
                packing.a_slices.index(segment.a_slice) * padded + segment.first,
                packing.w_slices.index(segment.w_slice) * padded + segment.first,
                _padded(segment.count, choice.unroll),
                segment.shift,
                mode,
            )
        )
    return rows


@cache
def _kernel(
    w_bits: int, a_bits: int, storage: int, packing: RowPacking, tile: Tile
) -> tuple[str, tuple[SourceFile, ...]]:
    """Name and files of a kernel, which is a table of three functions and their constants."""
    packer, pack_files = _packer(a_bits, storage, packing, tile)
    unpacker, unpack_files = _unpacker(w_bits, packing)
    tiler, tile_files = _tiler(tile)
    cuts = _cut_name("a", packing.a_slices) + _cut_name("w", packing.w_slices)
    toggle = "x" if packing.toggle else ""
    kernel = f"le_conv2d_w{w_bits}a{a_bits}_row{cuts}{toggle}_{tile.name}"
    parameters = "const le_row_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"
    fields = {
        "pack": packer,
        "unpack": unpacker,
        "tile": tiler,
        "pixels": packing.pixels,
        "field_bits": packing.field_bits,
        "words": packing.words,
        "toggle": int(packing.toggle),
        "slots": tile.slots,
        "unroll": tile.unroll,
        "a_slices": len(packing.a_slices),
        "w_slices": len(packing.w_slices),
        "a_storage": storage,
        "out_bits": tile.out_bits,
        "pre_shift": tile.pre_shift,
        "shift": tile.shift,
    }
    prototype = f"LE_INTERNAL void {kernel}({parameters})"
    guard = f"{kernel.upper()}_H"
    header = (
        f'#ifndef {guard}\n#define {guard}\n\n#include "le_row_polynomial.h"\n\n{prototype};\n\n'
        "#endif\n"
    )
    source = (
        f'#include "{kernel}.h"\n\n'
        + "".join(f'#include "{part}.h"\n' for part in (packer, unpacker, tiler))
        + f"\n{c_struct('le_row_kernel', f'{kernel}_table', fields)}\n"
        f"{prototype} {{\n    le_row_polynomial(layer, &{kernel}_table, in, out, scratch);\n}}\n"
    )
    files = (
        kernel_header("le_row_polynomial.h"),
        kernel_header("le_row_polynomial.c"),
        *pack_files,
        *unpack_files,
        *tile_files,
        SourceFile(f"{kernel}.h", header),
        SourceFile(f"{kernel}.c", source),
    )
    return kernel, tuple(dict.fromkeys(files))


def _cut_name(letter: str, slices) -> str:
    return "" if len(slices) == 1 else f"_{letter}" + "_".join(str(part.bits) for part in slices)


def _packer(a_bits: int, storage: int, packing: RowPacking, tile: Tile):
    """The function that packs a row, by name, and its files."""
    cuts = _cut_name("c", packing.a_slices)
    toggle = "x" if packing.toggle else ""
    words = "t" if packing.words == 2 else ""
    name = (
        f"le_row_pack_a{a_bits}{cuts}_m{packing.pixels}s{packing.field_bits}{toggle}{words}"
        f"_r{tile.slots - 2}u{tile.unroll}"
    )
    calls = [
        f"le_row_pack(entry + {index * tile.slots} * layer->padded_c, row, pad, layer, {storage}, "
        f"{part.low}, {part.bits}, {packing.pixels}, {packing.field_bits}, {int(packing.toggle)}, "
        f"{packing.words}, {tile.slots}, {tile.unroll}, {len(packing.a_slices)});"
        for index, part in enumerate(packing.a_slices)
    ]
    parameters = (
        "uint32_t *entry, const uint8_t *row, const uint8_t *pad, const le_row_layer *layer"
    )
    return name, specialised(name, parameters, "\n    ".join(calls), _PACK_HEADERS)


def _unpacker(w_bits: int, packing: RowPacking):
    """The function that unpacks weights, by name, and its files."""
    cut = packing.w_slices[0].low
    name = f"le_row_unpack_w{w_bits}{f'c{cut}' if cut else ''}_s{packing.field_bits}"
    name += "t" if packing.words == 2 else ""
    body = (
        f"le_row_unpack(to, from, layer, {w_bits}, {cut}, {packing.field_bits}, {packing.words});"
    )
    parameters = "uint32_t *to, const uint8_t *from, const le_row_layer *layer"
    return name, specialised(name, parameters, body, _PACK_HEADERS)


def _tiler(tile: Tile):
    """The tile function, in assembly and in C, by name, and its files."""
    name = f"le_row_tile_{tile.name}"
    shifts = ", ".join(map(str, tile.middle_shifts)) or "0"
    shape = (
        f"{{.pixels = {tile.pixels}, .field_bits = {tile.field_bits}, .words = {tile.words}, "
        f".slots = {tile.slots},\n        .unroll = {tile.unroll}, "
        f".last_shift = {tile.last_shift}, .middle_shift = {{{shifts}}},\n"
        f"        .out_bits = {tile.out_bits}, .pre_shift = {tile.pre_shift}, "
        f".shift = {tile.shift}}}"
    )
    instructions = "".join(f'        "{line}\\n"\n' for line in tile_assembly(tile))
    guard = f"{name.upper()}_H"
    header = (
        f'#ifndef {guard}\n#define {guard}\n\n#include "le_row_tile.h"\n\n'
        f"LE_INTERNAL void {name}(le_row_call *call);\n\n#endif\n"
    )
    source = (
        f'#include "{name}.h"\n\n'
        "#if LE_ROW_ASSEMBLY\n"
        "/* Registers: see the generator's text in row_polynomial_asm.py. */\n"
        f"__attribute__((naked, noinline)) LE_INTERNAL void {name}(\n"
        "    le_row_call *call __attribute__((unused))) {\n"
        f"    __asm__ volatile(\n{instructions}    );\n}}\n"
        "#else\n"
        f"LE_INTERNAL void {name}(le_row_call *call) {{\n"
        f"    static const le_row_tile_shape shape = {shape};\n"
        "    le_row_tile(call, &shape);\n}\n"
        "#endif\n"
    )
    headers = tuple(kernel_header(header) for header in ("le_row_polynomial.h", "le_row_tile.h"))
    return name, (*headers, SourceFile(f"{name}.h", header), SourceFile(f"{name}.c", source))


_PACK_HEADERS = ("le_row_polynomial.h", "le_row_pack.h")
