"""1x1 convolutions of few outputs, without packing: see `le_points.h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.kernels.windows import check_limits, eight_byte_aligned
from mcuq_lab.liteengine.lowering import Ahead, ByRows, Lowered, ahead_of_input
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_fields.h", "le_points.h")
_PARAMETERS = "const le_points_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"
_LAYER_BYTES = 32
_GROUP = 2  # output channels at a time


def lower_points(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QConv2d` of single pixels, all inside the input."""
    if not isinstance(op, QConv2d):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    points = points_of(op, source, output)
    if points is None:
        return ()
    name, requantize = c_identifier(op.name), op.requantize
    rest = source.shape.c % (32 // source.storage_bits)
    pairs, single = int(op.out_channels >= 2), op.out_channels % 2
    kernel = (
        f"le_conv2d_w{op.w_bits}a{source.storage_bits}_points_r{rest}c{2 * pairs + single}"
        f"_o{output.bits}p{requantize.pre_shift}h{requantize.shift}"
    )
    body = (
        f"le_points(layer, in, out, scratch, {op.w_bits}, {source.storage_bits}, {rest}, "
        f"{pairs}, {single}, {requantize.pre_shift}, {requantize.shift}, {output.bits});"
    )
    fields = _in_order(op, source)
    weights = pack_stream(fields[None], op.w_bits)
    constants = {
        **points.fields,
        "in_c": source.shape.c,
        "out_c": op.out_channels,
        "weight_count": fields.size,
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    way = Lowered(
        kernel=kernel,
        packing="plain",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", weights)
            + c_requantize(f"{name}_channels", requantize)
            + c_struct("le_points_layer", f"{name}_layer", constants)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size + 12 * op.out_channels + _LAYER_BYTES,
        scratch_bytes=eight_byte_aligned(2 * fields.size),
        ahead=points.ahead,
        by_rows=ByRows("le_points_layer", (points.rows,)),
        predicted_cycles=_cycles(op, source, points),
    )
    return (way,)


@dataclass(frozen=True)
class Points:
    """Where the pixels lie that a convolution of 1x1 reads: `runs` of equal distances.

    Attributes:
        runs, run_length: runs, and pixels of each.
        step, run_step: bytes from one pixel to the next, from run to run.
        rows: the member that says how many rows there are, see `ByRows`.
        ahead: how far the output may overlap the input of a kernel that takes all channels of a
            pixel, or of two, before the next.
    """

    runs: int
    run_length: int
    step: int
    run_step: int
    rows: tuple[str, str]
    ahead: tuple[Ahead, ...]

    @property
    def count(self) -> int:
        """Pixels."""
        return self.runs * self.run_length

    @property
    def fields(self) -> Mapping[str, int]:
        """Initialisers of the C members of these names."""
        names = ("runs", "run_length", "step", "run_step")
        return {name: getattr(self, name) for name in names}


def points_of(op: QConv2d | QDepthwiseConv2d, source: QTensor, output: QTensor) -> Points | None:
    """The pixels of `op`, if its windows are single pixels, all inside the input."""
    window, shape = op.window, output.shape
    if (window.kernel_h, window.kernel_w) != (1, 1) or window.padded:
        return None
    check_limits(op.name, window, source, output)
    dense = (window.stride_h, window.stride_w) == (1, 1)  # all pixels are one run
    return Points(
        runs=1 if dense else shape.h,
        run_length=shape.h * shape.w if dense else shape.w,
        step=window.stride_w * source.pixel_bytes,
        run_step=window.stride_h * source.shape.w * source.pixel_bytes,
        rows=("run_length", f"{shape.w} * rows.out_h") if dense else ("runs", "rows.out_h"),
        ahead=ahead_of_input(source, _written_and_unread(op, source, output)),
    )


def _written_and_unread(
    op: QConv2d | QDepthwiseConv2d, source: QTensor, output: QTensor
) -> Iterator[tuple[int, int]]:
    """While two pixels are being computed, some of their outputs are written."""
    window, shape = op.window, output.shape
    for y in range(shape.h):
        # What lies between grows evenly. The last two may be computed together.
        for x in {0, max(shape.w - 2, 0), shape.w - 1}:
            pixel = y * window.stride_h * source.shape.w + x * window.stride_w
            written = min(y * shape.w + x + 2, shape.h * shape.w)
            yield written * output.pixel_bytes, pixel * source.pixel_bytes


def _in_order(op: QConv2d, source: QTensor) -> np.ndarray:
    """Weights in the order in which products take them, zeros where a pair lacks one: int8 (n,)."""
    channels, group = source.shape.c, 32 // source.storage_bits
    whole = channels // group * group
    order: list[int] = []
    for first, count in ((first, group) for first in range(0, whole, group)):
        order += _pairs(first, count)
    order += _pairs(whole, channels - whole)
    padded = np.pad(op.weight.reshape(op.out_channels, channels), ((0, 0), (0, 1)))
    terms = padded[:, [min(term, channels) for term in order]].reshape(op.out_channels, -1, 2)
    tiles = (terms[i : i + _GROUP] for i in range(0, op.out_channels, _GROUP))
    return np.concatenate([tile.transpose(1, 0, 2).reshape(-1) for tile in tiles])


def _pairs(first: int, count: int) -> list[int]:
    """Terms of the pairs of `count` fields, in turn; one may lie behind the last field."""
    pairs = (count + 1) // 2
    return [first + j + half for j in range(pairs) for half in (0, pairs)]


def _cycles(op: QConv2d, source: QTensor, points: Points) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    group = 32 // source.storage_bits
    words, rest = divmod(source.shape.c, group)
    pairs = words * group // 2 + (rest + 1) // 2
    output_pairs, single = divmod(op.out_channels, 2)
    rest_cycles = 5.8 if rest else 0
    two, one = (13.2, 9.8) if source.storage_bits == 8 else (12.2, 7.4)  # of a pair of terms
    two_pixels = 23 + output_pairs * (69 + two * pairs + rest_cycles)
    two_pixels += single * (19 + one * pairs + rest_cycles)
    unpacking = 145 + 5 * pairs * op.out_channels
    return int((points.count + 1) // 2 * two_pixels + unpacking)
