"""The integer network run quickly: torch convolutions, compiled requantization, many images.

Equal to `run_reference` bit for bit, for the same reason: convolutions in floating point are exact
while `amax * sum|w|` stays below 2**24 (float32) or 2**53 (float64), whatever the order of their
sums. Only direct convolutions are asked of torch: a Winograd transform would round. Where the
processor sums products of bytes exactly, convolutions take them as they are. Values between
operators are uint8 tensors (N, c, h, w), channels last in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import singledispatch

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
from mcuq_lab.quantize.byte_convolution import convolve_bytes, exact_bytes
from mcuq_lab.quantize.compiled import add_flat, requantize_rows, requantize_signed_rows
from mcuq_lab.quantize.inputs import quantize_input
from mcuq_lab.quantize.network import convolve
from mcuq_lab.quantize.ranges import accumulator_peak, accumulator_start, check_ranges
from mcuq_lab.quantize.reference import check_inputs

_BATCH = 256


def run_integers(graph: QuantGraph, inputs: np.ndarray, batch: int = _BATCH) -> np.ndarray:
    """As `run_reference`: uint8 (N, h, w, c) outputs of quantized inputs, but much quicker.

    `batch` images are computed at a time.
    """
    check_ranges(graph)
    return run_unchecked(graph, inputs, batch)


def run_unchecked(graph: QuantGraph, inputs: np.ndarray, batch: int = _BATCH) -> np.ndarray:
    """As `run_integers`, for a network with an engine's own requantization constants.

    These may leave negative sums, which `check_ranges` refuses; all else must be within its limits.
    """
    inputs = check_inputs(graph, inputs)
    if len(inputs) == 0:
        shape = graph.output.shape
        return np.empty((0, shape.h, shape.w, shape.c), np.uint8)
    with torch.no_grad(), _direct_convolutions():
        outputs = [
            _run_batch(graph, inputs[first : first + batch])[graph.output_name]
            for first in range(0, len(inputs), batch)
        ]
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
    stored = run_integers(graph, quantize_input(images, graph.input, low, high))
    centred = stored.reshape(len(stored), -1).astype(np.float32) - graph.output.zero_point
    return centred * np.float32(graph.output.scale)


@contextmanager
def _direct_convolutions() -> Iterator[None]:
    with torch.backends.nnpack.flags(enabled=False):
        yield


def _run_batch(graph: QuantGraph, inputs: np.ndarray) -> Mapping[str, Tensor]:
    values = {graph.input_name: torch.from_numpy(inputs).permute(0, 3, 1, 2)}
    last_reader = {name: i for i, op in enumerate(graph.ops) for name in op.inputs}
    for i, op in enumerate(graph.ops):
        sources = [graph.tensors[name] for name in op.inputs]
        values[op.output] = _compute(op, sources, [values[name] for name in op.inputs])
        for name in op.inputs:
            if last_reader[name] == i and name != graph.output_name:
                values.pop(name, None)
    return values


@singledispatch
def _compute(op: QOp, sources: list[QTensor], x: list[Tensor]) -> Tensor:
    """One operator on uint8 (N, c, h, w) tensors."""
    raise ModelError(f"The executor knows no operator {op.op} ('{op.name}').")


@_compute.register(QConv2d)
@_compute.register(QDepthwiseConv2d)
def _(op, sources, x):
    source, window, depthwise = sources[0], op.window, isinstance(op, QDepthwiseConv2d)
    x, dtype = x[0], _exact_dtype(op, source)
    weight = torch.from_numpy(op.weight).permute(0, 3, 1, 2)
    centred = source.zero_point and window.padded
    if dtype == torch.float32 and not centred and exact_bytes():
        return _requantize_weighted(op, source, convolve_bytes(x, weight, window, depthwise))
    x = x.to(dtype)
    if centred:
        # Padding counts as the zero point: subtract it, pad with zeros, and add its share.
        x = x - source.zero_point
    acc = convolve(x, weight.to(dtype), None, window, depthwise)
    if centred:
        share = op.weight.reshape(op.out_channels, -1).sum(1, dtype=np.int64) * source.zero_point
        acc += torch.from_numpy(share).to(dtype)[:, None, None]
    return _requantize_weighted(op, source, acc)


@_compute.register
def _(op: QFullyConnected, sources, x):
    dtype = _exact_dtype(op, sources[0])
    acc = F.linear(x[0].flatten(1).to(dtype), torch.from_numpy(op.weight).to(dtype))
    return _requantize_weighted(op, sources[0], acc[:, :, None, None])


@_compute.register
def _(op: QAdd, sources, x):
    a, b = (t.contiguous(memory_format=torch.channels_last) for t in x)
    out = torch.empty_like(a)
    constants = (op.multiplier_a, op.multiplier_b, op.offset, op.shift, (1 << op.bits) - 1)
    add_flat(
        _pixels(a).ravel(), _pixels(b).ravel(), *map(np.int32, constants), _pixels(out).ravel()
    )
    return out


@_compute.register
def _(op: QAveragePool, sources, x):
    window = op.window
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    # Sums of at most 2**31 / 255 pixels: beyond float32 for maps above 256 x 256 only.
    exact = sources[0].qmax * window.kernel_h * window.kernel_w < 1 << 24
    values = x[0].float() if exact else x[0].double()
    total = F.avg_pool2d(values, kernel, stride, divisor_override=1)
    constants = op.requantize
    channels = np.ones(total.shape[1], np.int32)
    per_channel = Requantize(
        constants.start * channels,
        constants.multiplier * channels,
        constants.offset * channels,
        constants.pre_shift,
        constants.shift,
        constants.bits,
    )
    return _requantize(total, per_channel)


@_compute.register
def _(op: QMaxPool, sources, x):
    window = op.window
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    return F.max_pool2d(x[0].float(), kernel, stride).to(torch.uint8)


@_compute.register
def _(op: QFlatten, sources, x):
    return x[0].permute(0, 2, 3, 1).flatten(1)[:, :, None, None]


@_compute.register
def _(op: QConcat, sources, x):
    return torch.cat(x, 1)


def _requantize_weighted(op: QWeighted, source: QTensor, acc: Tensor) -> Tensor:
    constants = op.requantize
    if (constants.start >= accumulator_start(op.weight, source.qmax)).all():
        return _requantize(acc, constants)
    arrays = (constants.start, constants.multiplier, constants.offset)
    acc, out = _rows(acc)
    requantize_signed_rows(
        _pixels(acc),
        *(array.astype(np.int64) for array in arrays),
        constants.pre_shift,
        constants.shift,
        (1 << constants.bits) - 1,
        _pixels(out),
    )
    return out


def _requantize(acc: Tensor, constants: Requantize) -> Tensor:
    """Of sums that `start` makes non-negative."""
    acc, out = _rows(acc)
    requantize_rows(
        _pixels(acc),
        constants.start,
        constants.multiplier,
        constants.offset,
        constants.pre_shift,
        np.int32(constants.shift),
        np.int32((1 << constants.bits) - 1),
        _pixels(out),
    )
    return out


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
