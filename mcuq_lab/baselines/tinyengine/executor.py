"""TinyEngine's arithmetic run quickly, on many images: equal to `run_reference` bit for bit."""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.cmsis_nn.tflite import QMAX, QMIN
from mcuq_lab.baselines.int8_executor import (
    convolution_sums,
    depthwise_convolution_sums,
    requantized,
    run_in_batches,
    size_of,
    without_constants,
)
from mcuq_lab.baselines.tinyengine.network import (
    Kind,
    TinyAdd,
    TinyLayer,
    TinyNetwork,
    to_tinyengine,
    window_of,
)
from mcuq_lab.quantgraph import QAdd, QFullyConnected, QOp, QuantGraph, QWeighted


def run_integers(graph: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    """As `run_reference`: uint8 (N, h, w, c) outputs of quantized inputs, but much quicker."""
    network = to_tinyengine(graph)
    return run_in_batches(graph, inputs, lambda op, arrays: _compute(network, op, arrays))


def _compute(network: TinyNetwork, op: QOp, arrays: list[np.ndarray]) -> np.ndarray:
    zeros = [network.tensors[name].zero_point for name in op.inputs]
    out_zero = network.tensors[op.output].zero_point
    if isinstance(op, QAdd):
        return _add(network.additions[op.name], arrays, zeros, out_zero)
    if not isinstance(op, QWeighted):
        return without_constants(op, arrays)
    layer, window, out = network.layers[op.name], window_of(op), size_of(network.graph, op)
    x = (
        arrays[0].reshape(len(arrays[0]), 1, 1, -1)
        if isinstance(op, QFullyConnected)
        else arrays[0]
    )
    if layer.kind is Kind.DEPTHWISE:
        weight = layer.weight[..., 0].transpose(1, 2, 0)  # c, kh, kw -> kh, kw, c
        sums = depthwise_convolution_sums(x, zeros[0], weight, window, out)
    else:
        rows = layer.weight.reshape(len(layer.weight), -1)
        sums = convolution_sums(x, zeros[0], rows, window, out)
    return _requantized(layer, sums, out_zero).reshape(len(x), *out, -1)


def _add(factors: TinyAdd, arrays: list[np.ndarray], zeros: list[int], out_zero: int) -> np.ndarray:
    from mcuq_lab.baselines.int8_compiled import add_floats  # numba with it

    a, b = (np.ascontiguousarray(array) for array in arrays)
    result, levels = np.empty(a.shape, np.int8), np.arange(QMIN, QMAX + 1)
    table_a = (levels - zeros[0]).astype(np.float32) * factors.scale_a
    table_b = (levels - zeros[1]).astype(np.float32) * factors.scale_b
    add_floats(
        a.ravel(),
        b.ravel(),
        table_a,
        table_b,
        factors.scale,
        np.float32(out_zero),
        result.reshape(-1),
    )
    return result


def _requantized(layer: TinyLayer, sums: np.ndarray, out_zero: int) -> np.ndarray:
    if layer.kind is Kind.CONVOLVE:
        return requantized(sums, layer.bias, layer.multiplier, layer.shift, out_zero)
    from mcuq_lab.baselines.int8_compiled import scale_rows  # numba with it

    result = np.empty(sums.shape, np.int8)
    scale_rows(sums, layer.bias.astype(np.int64), layer.scale, out_zero, result)
    return result
