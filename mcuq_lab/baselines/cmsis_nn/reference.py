"""The engine's own integer arithmetic in numpy: the oracle of its C.

CMSIS-NN rounds otherwise than LiteEngine (see `tflite.py`), so the two give slightly different
integers on the same network; each is exact against its own specification.
"""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.cmsis_nn.tflite import (
    ADD_LEFT_SHIFT,
    QMAX,
    QMIN,
    Int8Network,
    Int8Tensor,
    Multiplier,
    to_tflite,
)
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QDepthwiseConv2d,
    QFullyConnected,
    QMaxPool,
    QOp,
    QuantGraph,
    QWeighted,
)


def run_reference(graph: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    """Outputs uint8 (N, h, w, c) for inputs uint8 (N, h, w, c), both as u = q + 128."""
    network = to_tflite(graph)
    values = {graph.input_name: inputs.astype(np.int64) + QMIN}
    for op in graph.ops:
        arrays = [values[name] for name in op.inputs]
        values[op.output] = _compute(network, op, arrays)
    return (values[graph.output_name] - QMIN).astype(np.uint8)


def requantize(value: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """value * multiplier / 2**31 * 2**shift, rounded twice; int64 arrays that broadcast."""
    high = ((value << np.maximum(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = np.maximum(-shift, 0)
    mask = (np.int64(1) << right) - 1
    result = high >> right
    return result + ((high & mask) > (mask >> 1) + (result < 0))


def _compute(network: Int8Network, op: QOp, arrays: list[np.ndarray]) -> np.ndarray:
    sources = [network.tensors[name] for name in op.inputs]
    out = network.tensors[op.output]
    if isinstance(op, QWeighted):
        layer = network.layers[op.name]
        acc = _accumulate(op, layer.weight, arrays[0] - sources[0].zero_point)
        scaled = requantize(
            acc + layer.bias, layer.multiplier.astype(np.int64), layer.shift.astype(np.int64)
        )
        return np.clip(scaled + out.zero_point, QMIN, QMAX)
    if isinstance(op, QAdd):
        return _add(network, op, sources, out, arrays)
    if isinstance(op, QAveragePool):
        return _average(op.window, arrays[0])
    if isinstance(op, QMaxPool):
        return _windows(arrays[0], op.window).max(axis=(3, 4))
    if isinstance(op, QConcat):
        return np.concatenate(arrays, axis=3)
    return arrays[0].reshape(len(arrays[0]), 1, 1, -1)


def _add(
    network: Int8Network,
    op: QAdd,
    sources: list[Int8Tensor],
    out: Int8Tensor,
    arrays: list[np.ndarray],
) -> np.ndarray:
    constants = network.additions[op.name]
    total = np.int64(0)
    for array, source, factor in zip(arrays, sources, (constants.a, constants.b), strict=True):
        total = total + scaled((array - source.zero_point) << ADD_LEFT_SHIFT, factor)
    return np.clip(scaled(total, constants.out) + out.zero_point, QMIN, QMAX)


def scaled(value: np.ndarray, factor: Multiplier) -> np.ndarray:
    """`requantize` by one factor for all; int64."""
    return requantize(value, np.int64(factor.multiplier), np.int64(factor.shift))


def _average(window: Window, x: np.ndarray) -> np.ndarray:
    total = _windows(x, window).sum(axis=(3, 4))
    count = window.kernel_h * window.kernel_w
    half = np.where(total > 0, count // 2, -(count // 2))
    return np.sign(total + half) * (np.abs(total + half) // count)


def _accumulate(op: QWeighted, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Sums of weight * (input - zero_point); padding is 0 then.

    Computed in float64, which is exact (the sums stay far below 2**53) and has a fast product.
    """
    x, weight = x.astype(np.float64), weight.astype(np.float64)
    if isinstance(op, QFullyConnected):
        acc = (x.reshape(len(x), -1) @ weight.T)[:, None, None, :]
    elif isinstance(op, QDepthwiseConv2d):
        acc = np.einsum("nhwijc,ijc->nhwc", _windows(x, op.window), weight)
    else:
        windows = _windows(x, op.window)
        n, h, w = windows.shape[:3]
        columns = windows.reshape(n * h * w, -1)
        acc = (columns @ weight.reshape(len(weight), -1).T).reshape(n, h, w, -1)
    return acc.astype(np.int64)


def _windows(x: np.ndarray, window: Window) -> np.ndarray:
    """(N, h, w, c) -> (N, out h, out w, kernel_h, kernel_w, c), zero-padded."""
    padded = np.pad(
        x,
        (
            (0, 0),
            (window.pad_top, window.pad_bottom),
            (window.pad_left, window.pad_right),
            (0, 0),
        ),
    )
    view = np.lib.stride_tricks.sliding_window_view(
        padded, (window.kernel_h, window.kernel_w), axis=(1, 2)
    )
    return view[:, :: window.stride_h, :: window.stride_w].transpose(0, 1, 2, 4, 5, 3)
