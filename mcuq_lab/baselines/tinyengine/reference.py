"""The engine's own arithmetic in numpy, floats included: the oracle of its C."""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.cmsis_nn.reference import requantize
from mcuq_lab.baselines.cmsis_nn.tflite import QMAX, QMIN
from mcuq_lab.baselines.tinyengine.network import (
    Kind,
    TinyLayer,
    TinyNetwork,
    to_tinyengine,
    window_of,
)
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import QAdd, QAveragePool, QConcat, QMaxPool, QOp, QuantGraph, QWeighted


def run_reference(graph: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    """Outputs uint8 (N, h, w, c) for inputs uint8 (N, h, w, c), both as u = q + 128."""
    network = to_tinyengine(graph)
    values = {graph.input_name: inputs.astype(np.int64) + QMIN}
    for op in graph.ops:
        arrays = [values[name] for name in op.inputs]
        values[op.output] = _compute(network, op, arrays)
    return (values[graph.output_name] - QMIN).astype(np.uint8)


def _compute(network: TinyNetwork, op: QOp, arrays: list[np.ndarray]) -> np.ndarray:
    zeros = [network.tensors[name].zero_point for name in op.inputs]
    out_zero = network.tensors[op.output].zero_point
    if isinstance(op, QWeighted):
        layer = network.layers[op.name]
        sums = _accumulate(layer, window_of(op), arrays[0] - zeros[0]) + layer.bias
        return np.clip(_scaled(layer, sums) + out_zero, QMIN, QMAX)
    if isinstance(op, QAdd):
        factors = network.additions[op.name]
        left = (arrays[0] - zeros[0]).astype(np.float32) * factors.scale_a
        right = (arrays[1] - zeros[1]).astype(np.float32) * factors.scale_b
        total = ((left + right) / factors.scale + np.float32(out_zero)).astype(np.float64)
        rounded = np.trunc(total + np.copysign(0.5, total))
        return np.clip(rounded.astype(np.int64), QMIN, QMAX)
    if isinstance(op, QAveragePool):
        return _average(op.window, arrays[0])
    if isinstance(op, QMaxPool):
        return _windows(arrays[0], op.window).max(axis=(3, 4))
    if isinstance(op, QConcat):
        return np.concatenate(arrays, axis=3)
    return arrays[0].reshape(len(arrays[0]), 1, 1, -1)


def _scaled(layer: TinyLayer, sums: np.ndarray) -> np.ndarray:
    if layer.kind is Kind.CONVOLVE:
        return requantize(sums, layer.multiplier.astype(np.int64), layer.shift.astype(np.int64))
    return np.trunc(sums.astype(np.float32) * layer.scale).astype(np.int64)


def _accumulate(layer: TinyLayer, window: Window, x: np.ndarray) -> np.ndarray:
    """Sums of weight * (input - zero_point), exact in float64; padding is 0 then."""
    windows = _windows(x.astype(np.float64), window)
    weight = layer.weight.astype(np.float64)
    if layer.kind is Kind.DEPTHWISE:
        sums = np.einsum("nhwijc,cij->nhwc", windows, weight[..., 0])
    else:
        n, h, w = windows.shape[:3]
        rows = weight.reshape(len(weight), -1)
        sums = (windows.reshape(n * h * w, -1) @ rows.T).reshape(n, h, w, -1)
    return sums.astype(np.int64)


def _average(window: Window, x: np.ndarray) -> np.ndarray:
    """Rounded to nearest, halves away from zero."""
    total = _windows(x, window).sum(axis=(3, 4))
    count = window.kernel_h * window.kernel_w
    half = np.where(total > 0, count // 2, -(count // 2))
    return np.sign(total + half) * (np.abs(total + half) // count)


def _windows(x: np.ndarray, window: Window) -> np.ndarray:
    """(N, h, w, c) -> (N, out h, out w, kernel_h, kernel_w, c), zero-padded."""
    rows, columns = (window.pad_top, window.pad_bottom), (window.pad_left, window.pad_right)
    padded = np.pad(x, ((0, 0), rows, columns, (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(
        padded, (window.kernel_h, window.kernel_w), axis=(1, 2)
    )
    return view[:, :: window.stride_h, :: window.stride_w].transpose(0, 1, 2, 4, 5, 3)
