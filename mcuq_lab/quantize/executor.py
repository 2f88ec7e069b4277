"""The integer network run quickly: torch convolutions, compiled requantization, many images.

Equal to `run_reference` bit for bit, for the same reason: convolutions in floating point are exact
while `amax * sum|w|` stays below 2**24 (float32) or 2**53 (float64), whatever the order of their
sums. Only direct convolutions are asked of torch: a Winograd transform would round. Where the
processor sums products of bytes exactly, convolutions take them as they are. What does not depend
on the images is prepared once. Values between operators are uint8 tensors (N, c, h, w), channels
last in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cache, singledispatch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcuq_lab.errors import ModelError
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QConv2d,
    QDepthwiseConv2d,
    QFlatten,
    QFullyConnected,
    QMaxPool,
    QOp,
    QTensor,
    QuantGraph,
    QWeighted,
    Requantize,
)
from mcuq_lab.quantize.byte_convolution import byte_convolution, exact_as_bytes
from mcuq_lab.quantize.compiled import add_flat, requantize_rows, requantize_signed_rows
from mcuq_lab.quantize.inputs import quantize_input
from mcuq_lab.quantize.network import convolve
from mcuq_lab.quantize.ranges import accumulator_peak, accumulator_start, check_ranges
from mcuq_lab.quantize.reference import check_inputs

_Computation = Callable[..., Tensor]
Run = Callable[[Mapping[str, Tensor], Set[str]], dict[str, Tensor]]

BATCH = 128
"""Images at a time. Beyond it, the sums of a map do not stay in the processor's caches; below,
calls take their time."""

# Of a row of sums that is requantized at once.
_ROW_ELEMENTS = 512


def run_integers(graph: QuantGraph, inputs: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """As `run_reference`: uint8 (N, h, w, c) outputs of quantized inputs, but much quicker.

    `batch` images are computed at a time.
    """
    check_ranges(graph)
    return run_unchecked(graph, inputs, batch)


def run_unchecked(graph: QuantGraph, inputs: np.ndarray, batch: int = BATCH) -> np.ndarray:
    """As `run_integers`, for a network with an engine's own requantization constants.

    These may leave negative sums, which `check_ranges` refuses; all else must be within its limits.
    """
    inputs = check_inputs(graph, inputs)
    if len(inputs) == 0:
        shape = graph.output.shape
        return np.empty((0, shape.h, shape.w, shape.c), np.uint8)
    run = prepare(graph, graph.ops, batch)
    wanted = {graph.output_name}
    outputs = [
        run({graph.input_name: part}, wanted)[graph.output_name] for part in parts(inputs, batch)
    ]
    return joined(outputs)


def parts(inputs: np.ndarray, batch: int) -> list[Tensor]:
    """uint8 (N, h, w, c) values as tensors of `batch` images."""
    tensor = torch.from_numpy(inputs).permute(0, 3, 1, 2)
    return [tensor[first : first + batch] for first in range(0, len(tensor), batch)]


def joined(outputs: Sequence[Tensor]) -> np.ndarray:
    """Inverse of `parts`."""
    return np.concatenate([y.permute(0, 2, 3, 1).numpy() for y in outputs])


def evaluate(
    graph: QuantGraph,
    images: np.ndarray,
    labels: np.ndarray,
    low: float = 0.0,
    high: float = 1.0,
) -> float:
    """Share of uint8 NHWC `images` whose largest output is their label's.

    `low` and `high` are those of the float network's `Input`. Equal outputs: the first one counts.
    """
    return float((predict(graph, images, low, high).argmax(1) == labels).mean())


def predict(
    graph: QuantGraph, images: np.ndarray, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    """Real-valued logits, float32 (N, classes), of uint8 NHWC images."""
    return real_outputs(graph, run_integers(graph, quantize_input(images, graph.input, low, high)))


def real_outputs(graph: QuantGraph, stored: np.ndarray) -> np.ndarray:
    """Real-valued logits, float32 (N, classes), of a network's uint8 outputs."""
    centred = stored.reshape(len(stored), -1).astype(np.float32) - graph.output.zero_point
    return centred * np.float32(graph.output.scale)


@contextmanager
def _direct_convolutions() -> Iterator[None]:
    with torch.backends.nnpack.flags(enabled=False):
        yield


def prepare(graph: QuantGraph, ops: Sequence[QOp], batch: int) -> Run:
    """Some operators of a network as a function of the values that they begin with.

    Args:
        graph: the network.
        ops: in its order.
        batch: images of most calls.

    Returns:
        A function of values by tensor and of the names of those that are wanted, which gives them.
    """
    with torch.no_grad():
        computations = [
            _prepare(op, [graph.tensors[name] for name in op.inputs], batch) for op in ops
        ]
    last_reader = {name: i for i, op in enumerate(ops) for name in op.inputs}

    def run(values: Mapping[str, Tensor], wanted: Set[str]) -> dict[str, Tensor]:
        values = dict(values)
        with torch.no_grad(), _direct_convolutions():
            for i, (op, compute) in enumerate(zip(ops, computations, strict=True)):
                values[op.output] = compute(*(values[name] for name in op.inputs))
                for name in op.inputs:
                    if last_reader[name] == i and name not in wanted:
                        values.pop(name, None)
        return {name: values[name] for name in wanted}

    return run


@singledispatch
def _prepare(op: QOp, sources: list[QTensor], batch: int) -> _Computation:
    """One operator as a function of uint8 (N, c, h, w) tensors, mostly of N = `batch`."""
    raise ModelError(f"The executor knows no operator {op.op} ('{op.name}').")


@_prepare.register(QConv2d)
@_prepare.register(QDepthwiseConv2d)
def _(op, sources, batch):
    source, dtype = sources[0], _exact_dtype(op, sources[0])
    if dtype == torch.float32 and exact_as_bytes(op.weight, source.qmax):
        sums = byte_convolution(
            torch.from_numpy(op.weight).permute(0, 3, 1, 2),
            op.window,
            isinstance(op, QDepthwiseConv2d),
            (batch, source.shape.c, source.shape.h, source.shape.w),
            source.zero_point,
        )
    else:
        sums = _float_convolution(op, source, dtype)
    requantize = _weighted_requantization(op, source)
    return lambda x: requantize(sums(x))


def _float_convolution(
    op: QConv2d | QDepthwiseConv2d, source: QTensor, dtype: torch.dtype
) -> _Computation:
    depthwise = isinstance(op, QDepthwiseConv2d)
    weight = torch.from_numpy(op.weight).permute(0, 3, 1, 2).to(dtype)
    if not (source.zero_point and op.window.padded):
        return lambda x: convolve(x.to(dtype), weight, None, op.window, depthwise)
    # Padding counts as the zero point: subtract it, pad with zeros, and add its share.
    share = op.weight.reshape(op.out_channels, -1).sum(1, dtype=np.int64) * source.zero_point
    share = torch.from_numpy(share).to(dtype)[:, None, None]

    def sums(x: Tensor) -> Tensor:
        return convolve(x.to(dtype) - source.zero_point, weight, None, op.window, depthwise) + share

    return sums


@_prepare.register
def _(op: QFullyConnected, sources, batch):
    dtype = _exact_dtype(op, sources[0])
    weight = torch.from_numpy(op.weight).to(dtype)
    requantize = _weighted_requantization(op, sources[0])
    return lambda x: requantize(F.linear(x.flatten(1).to(dtype), weight)[:, :, None, None])


@_prepare.register
def _(op: QAdd, sources, batch):
    constants = (op.multiplier_a, op.multiplier_b, op.offset, op.shift, (1 << op.bits) - 1)
    constants = tuple(map(np.int32, constants))

    def add(a: Tensor, b: Tensor) -> Tensor:
        a, b = (t.contiguous(memory_format=torch.channels_last) for t in (a, b))
        out = torch.empty_like(a)
        add_flat(_pixels(a).ravel(), _pixels(b).ravel(), *constants, _pixels(out).ravel())
        return out

    return add


@_prepare.register
def _(op: QAveragePool, sources, batch):
    window, constants = op.window, op.requantize
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    # Sums of at most 2**31 / 255 pixels: beyond float32 for maps above 256 x 256 only.
    exact = sources[0].qmax * window.kernel_h * window.kernel_w < 1 << 24
    dtype = torch.float32 if exact else torch.float64
    channels = np.ones(sources[0].shape.c, np.int32)
    requantize = _requantization(
        Requantize(
            constants.start * channels,
            constants.multiplier * channels,
            constants.offset * channels,
            constants.pre_shift,
            constants.shift,
            constants.bits,
        )
    )
    return lambda x: requantize(F.avg_pool2d(x.to(dtype), kernel, stride, divisor_override=1))


@_prepare.register
def _(op: QMaxPool, sources, batch):
    window = op.window
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    return lambda x: F.max_pool2d(x.float(), kernel, stride).to(torch.uint8)


@_prepare.register
def _(op: QFlatten, sources, batch):
    return lambda x: x.permute(0, 2, 3, 1).flatten(1)[:, :, None, None]


@_prepare.register
def _(op: QConcat, sources, batch):
    return lambda *x: torch.cat(x, 1)


def _weighted_requantization(op: QWeighted, source: QTensor) -> _Computation:
    constants = op.requantize
    if (constants.start >= accumulator_start(op.weight, source.qmax)).all():
        return _requantization(constants)
    arrays = (constants.start, constants.multiplier, constants.offset)
    arrays = tuple(array.astype(np.int64) for array in arrays)
    scalars = (constants.pre_shift, constants.shift, (1 << constants.bits) - 1)

    def requantize(acc: Tensor) -> Tensor:
        acc, out = _rows(acc)
        requantize_signed_rows(_pixels(acc), *arrays, *scalars, _pixels(out))
        return out

    return requantize


def _requantization(constants: Requantize) -> _Computation:
    """Of sums that `start` makes non-negative."""
    arrays = (constants.start, constants.multiplier, constants.offset)
    scalars = (constants.pre_shift, np.int32(constants.shift), np.int32((1 << constants.bits) - 1))
    most = 1 << max(0, (_ROW_ELEMENTS // len(constants.start)).bit_length() - 1)

    @cache
    def repeated(times: int) -> tuple[np.ndarray, ...]:
        return tuple(np.tile(array, times) for array in arrays)

    def requantize(acc: Tensor) -> Tensor:
        acc, out = _rows(acc)
        sums = _pixels(acc)
        # Some pixels form one row of the loops, which then start less often.
        together = math.gcd(len(sums), most)
        rows = (len(sums) // together, -1)
        requantize_rows(
            sums.reshape(rows), *repeated(together), *scalars, _pixels(out).reshape(rows)
        )
        return out

    return requantize


def _rows(acc: Tensor) -> tuple[Tensor, Tensor]:
    """Sums, and bytes for what becomes of them, both channels last."""
    acc = acc.contiguous(memory_format=torch.channels_last)
    return acc, torch.empty_like(acc, dtype=torch.uint8)


def _pixels(x: Tensor) -> np.ndarray:
    """View (pixels, c) of a channels_last tensor's memory."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()


def _exact_dtype(op: QWeighted, source: QTensor) -> torch.dtype:
    # With the zero point subtracted, values lie within +-qmax: the same bound holds.
    peak = accumulator_peak(op.weight, source.qmax).max()
    return torch.float32 if peak < 1 << 24 else torch.float64
