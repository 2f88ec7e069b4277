"""The integer reference: what every engine must reproduce bit for bit.

It computes exactly what the text of `mcuq_lab.quantgraph` says, in numpy alone. Accumulators come
from matrix products in floating point, which are exact here: every partial sum of a dot product is
an integer of magnitude at most `amax * sum|w|`, and float32 (float64) holds all integers up to
2**24 (2**53), so no order of summation ever rounds.
"""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import numpy.typing as npt

from mcuq_lab.errors import ModelError, NumericsError
from mcuq_lab.graph import Window
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
    Requantize,
)
from mcuq_lab.quantize.ranges import accumulator_peak, check_ranges

# im2col is done for as many images at a time as fit into this many matrix elements.
_COLUMN_ELEMENTS = 1 << 23


def run_reference(graph: QuantGraph, inputs: npt.ArrayLike) -> np.ndarray:
    """The network's output for N quantized inputs.

    Args:
        graph: the integer network.
        inputs: stored values of the input tensor, integers (N, h, w, c), unpacked.

    Returns:
        uint8 (N, h, w, c), unpacked.

    Raises:
        NumericsError: an input out of range, or a network outside the specification's limits.
    """
    return run_reference_all(graph, inputs)[graph.output_name]


def run_reference_all(graph: QuantGraph, inputs: npt.ArrayLike) -> dict[str, np.ndarray]:
    """Every tensor for N quantized inputs, by name: uint8 (N, h, w, c), unpacked.

    Arguments and errors as for `run_reference`.
    """
    check_ranges(graph)
    values = {graph.input_name: check_inputs(graph, inputs)}
    for op in graph.ops:
        sources = tuple(graph.tensors[name] for name in op.inputs)
        arrays = tuple(values[name] for name in op.inputs)
        values[op.output] = compute(op, sources, arrays)
    return values


def check_inputs(graph: QuantGraph, inputs: npt.ArrayLike) -> np.ndarray:
    """`inputs` as uint8 (N, h, w, c); raises NumericsError if they are no values of the input."""
    array = np.asarray(inputs)
    tensor = graph.input
    shape = (tensor.shape.h, tensor.shape.w, tensor.shape.c)
    if array.ndim != 4 or array.shape[1:] != shape:
        raise NumericsError(
            f"'{graph.name}' takes inputs (N, {', '.join(map(str, shape))}), got {array.shape}."
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise NumericsError(
            f"'{graph.name}' takes integers, got {array.dtype}; use quantize_input on images."
        )
    if array.size and (array.min() < 0 or array.max() > tensor.qmax):
        raise NumericsError(
            f"Input of '{graph.name}' has {tensor.bits} bits, got values outside "
            f"0..{tensor.qmax}; use quantize_input on images."
        )
    return array.astype(np.uint8)


@singledispatch
def compute(op: QOp, sources: tuple[QTensor, ...], arrays: tuple[np.ndarray, ...]) -> np.ndarray:
    """One operator on unpacked uint8 arrays (N, h, w, c); `sources` describe them."""
    raise ModelError(f"The reference knows no operator {op.op} ('{op.name}').")


def requantize(acc: np.ndarray, parameters: Requantize) -> np.ndarray:
    """uint8 outputs for raw accumulators whose last axis is the channel (integers, any shape)."""
    shifted = (acc.astype(np.int64) + parameters.start) << parameters.pre_shift
    t = (shifted * parameters.multiplier) >> 32
    y = (t + parameters.offset) >> parameters.shift
    return y.clip(0, (1 << parameters.bits) - 1).astype(np.uint8)


def accumulate(op: QOp, source: QTensor, x: np.ndarray) -> np.ndarray:
    """Raw accumulators, int64 (N, h, w, oc), of a layer with weights: sum(w * u), no start value.

    `x` are unpacked values (N, h, w, c) of `source`; padding counts as its zero point.
    """
    if isinstance(op, QConv2d):
        return _convolve(op, source, x)
    if isinstance(op, QDepthwiseConv2d):
        return _convolve_depthwise(op, source, x)
    if isinstance(op, QFullyConnected):
        dtype = _exact_dtype(op, source)
        product = x.reshape(len(x), -1).astype(dtype) @ op.weight.astype(dtype).T
        return product.astype(np.int64)[:, None, None, :]
    raise ModelError(f"{op.op} '{op.name}' has no weights, hence no accumulators.")


@compute.register(QConv2d)
@compute.register(QDepthwiseConv2d)
@compute.register(QFullyConnected)
def _(op, sources, arrays):
    return requantize(accumulate(op, sources[0], arrays[0]), op.requantize)


@compute.register
def _(op: QAdd, sources, arrays):
    a, b = (array.astype(np.int32) for array in arrays)
    y = (a * op.multiplier_a + b * op.multiplier_b + op.offset) >> op.shift
    return y.clip(0, (1 << op.bits) - 1).astype(np.uint8)


@compute.register
def _(op: QAveragePool, sources, arrays):
    return requantize(_windows(arrays[0], op.window).sum((3, 4), dtype=np.int64), op.requantize)


@compute.register
def _(op: QMaxPool, sources, arrays):
    return _windows(arrays[0], op.window).max((3, 4))


@compute.register
def _(op: QFlatten, sources, arrays):
    return arrays[0].reshape(len(arrays[0]), 1, 1, -1)


@compute.register
def _(op: QConcat, sources, arrays):
    return np.concatenate(arrays, axis=-1)


def _exact_dtype(op, source: QTensor) -> type:
    peak = accumulator_peak(op.weight, source.qmax)
    return np.float32 if peak.max() < 1 << 24 else np.float64


def _padded(x: np.ndarray, window: Window, value: int) -> np.ndarray:
    rows, columns = (window.pad_top, window.pad_bottom), (window.pad_left, window.pad_right)
    return np.pad(x, ((0, 0), rows, columns, (0, 0)), constant_values=value)


def _windows(x: np.ndarray, window: Window) -> np.ndarray:
    """View (N, oh, ow, kh, kw, c) of all windows on an already padded (N, h, w, c) array."""
    kernel = (window.kernel_h, window.kernel_w)
    view = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(1, 2))
    view = view[:, :: window.stride_h, :: window.stride_w]
    return view.transpose(0, 1, 2, 4, 5, 3)


def _convolve(op: QConv2d, source: QTensor, x: np.ndarray) -> np.ndarray:
    dtype = _exact_dtype(op, source)
    kernel = op.weight.reshape(op.out_channels, -1).T.astype(dtype)
    n = len(x)
    oh, ow = op.window.output(*x.shape[1:3])
    acc = np.empty((n, oh, ow, op.out_channels), np.int64)
    step = max(1, _COLUMN_ELEMENTS // (oh * ow * kernel.shape[0]))
    for first in range(0, n, step):
        chunk = _padded(x[first : first + step], op.window, source.zero_point).astype(dtype)
        columns = _windows(chunk, op.window).reshape(-1, kernel.shape[0])
        acc[first : first + step] = (columns @ kernel).reshape(-1, oh, ow, op.out_channels)
    return acc


def _convolve_depthwise(op: QDepthwiseConv2d, source: QTensor, x: np.ndarray) -> np.ndarray:
    windows = _windows(_padded(x, op.window, source.zero_point).astype(np.int32), op.window)
    acc = np.zeros((*windows.shape[:3], op.out_channels), np.int32)
    for ky in range(op.window.kernel_h):
        for kx in range(op.window.kernel_w):
            acc += windows[:, :, :, ky, kx] * op.weight[:, ky, kx, 0].astype(np.int32)
    return acc.astype(np.int64)
