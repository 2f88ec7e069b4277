"""The int8 engines' integers for many images at a time: what their executors share.

Convolutions are products of matrices in floating point, exact while `255 * sum|w|` stays below
2**24 (float32) or 2**53 (float64), whatever the order of the sums. The compiled loops are imported
where they run: numba takes half a second, and most who name an engine run no image.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import QAveragePool, QConcat, QMaxPool, QOp, QuantGraph

_IMAGES = 32
"""Images at a time: their columns stay near the caches."""


def run_in_batches(
    graph: QuantGraph,
    inputs: np.ndarray,
    compute: Callable[[QOp, list[np.ndarray]], np.ndarray],
) -> np.ndarray:
    """Outputs uint8 (N, h, w, c) of inputs uint8 (N, h, w, c), both as u = q + 128.

    `compute` makes an operator's int8 output of its int8 inputs.
    """
    shape = graph.output.shape
    outputs = np.empty((len(inputs), shape.h, shape.w, shape.c), np.uint8)
    for first in range(0, len(inputs), _IMAGES):
        batch = (inputs[first : first + _IMAGES] ^ 0x80).view(np.int8)
        values: dict[str, np.ndarray] = {graph.input_name: batch}
        for op in graph.ops:
            values[op.output] = compute(op, [values[name] for name in op.inputs])
        outputs[first : first + _IMAGES] = values[graph.output_name].view(np.uint8) ^ 0x80
    return outputs


def convolution_sums(
    x: np.ndarray, zero_point: int, rows: np.ndarray, window: Window, out: tuple[int, int]
) -> np.ndarray:
    """Sums (n * oh * ow, oc), floating point, of int8 weight rows (oc, kh * kw * c)."""
    from mcuq_lab.baselines.int8_compiled import fill_columns

    peak = 255 * int(np.abs(rows.astype(np.int64)).sum(1).max())
    dtype = np.float32 if peak < 1 << 24 else np.float64
    columns = np.empty((len(x) * out[0] * out[1], rows.shape[1]), dtype)
    flat = np.ascontiguousarray(x).reshape(*x.shape[:2], -1)
    fill_columns(flat, x.shape[3], np.int32(zero_point), _geometry(window, out), columns)
    return columns @ rows.astype(dtype).T


def depthwise_convolution_sums(
    x: np.ndarray, zero_point: int, weight: np.ndarray, window: Window, out: tuple[int, int]
) -> np.ndarray:
    """Sums (n * oh * ow, c), int32, of int8 weights (kh, kw, c)."""
    from mcuq_lab.baselines.int8_compiled import depthwise_sums

    sums = np.zeros((len(x) * out[0] * out[1], x.shape[3]), np.int32)
    taps = np.ascontiguousarray(weight, np.int32)
    depthwise_sums(
        np.ascontiguousarray(x), np.int32(zero_point), taps, _geometry(window, out), sums
    )
    return sums


def requantized(
    sums: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, zero_point: int
) -> np.ndarray:
    """int8 (pixels, oc) of sums (pixels, oc) by Q31 multipliers and powers of two."""
    from mcuq_lab.baselines.int8_compiled import requantize_rows

    result = np.empty(sums.shape, np.int8)
    constants = factor_constants(multiplier, shift)
    requantize_rows(sums, bias.astype(np.int64), *constants, zero_point, result)
    return result


def factor_constants(multiplier: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, ...]:
    """left, multiplier, half, carry and right, int64, as `requantize_rows` takes them."""
    shift = np.asarray(shift, np.int64)
    right = np.maximum(-shift, 0)
    carry = np.minimum(right, 1)
    half = (np.int64(1) << right) >> 1
    return np.maximum(shift, 0), np.asarray(multiplier, np.int64), half, carry, right


def without_constants(op: QOp, arrays: list[np.ndarray]) -> np.ndarray:
    """Pools, concatenations and reshapes of int8 arrays."""
    if isinstance(op, QAveragePool):
        taps = _taps(arrays[0], op.window)
        total = sum((tap.astype(np.int32) for tap in taps[1:]), taps[0].astype(np.int32))
        count = len(taps)
        half = np.where(total > 0, count // 2, -(count // 2))
        return (np.sign(total + half) * (np.abs(total + half) // count)).astype(np.int8)
    if isinstance(op, QMaxPool):
        return np.ascontiguousarray(np.maximum.reduce(_taps(arrays[0], op.window)))
    if isinstance(op, QConcat):
        return np.concatenate(arrays, axis=3)
    return arrays[0].reshape(len(arrays[0]), 1, 1, -1)


def size_of(graph: QuantGraph, op: QOp) -> tuple[int, int]:
    """Height and width of an operator's output."""
    shape = graph.tensors[op.output].shape
    return shape.h, shape.w


def _geometry(window: Window, out: tuple[int, int]) -> tuple[int, ...]:
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    return (*kernel, *stride, window.pad_top, window.pad_left, *out)


def _taps(x: np.ndarray, window: Window) -> list[np.ndarray]:
    """One view (n, oh, ow, c) for each position of an unpadded window."""
    h = (x.shape[1] - window.kernel_h) // window.stride_h + 1
    w = (x.shape[2] - window.kernel_w) // window.stride_w + 1
    return [
        x[:, ky:, kx:][:, :: window.stride_h, :: window.stride_w][:, :h, :w]
        for ky in range(window.kernel_h)
        for kx in range(window.kernel_w)
    ]
