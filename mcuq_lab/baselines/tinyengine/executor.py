"""TinyEngine's arithmetic run quickly, on many images: equal to `run_reference` bit for bit."""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.int8_compiled import requantize_rows, scale_rows
from mcuq_lab.baselines.int8_executor import (
    convolution_sums,
    depthwise_convolution_sums,
    run_in_batches,
    size_of,
    without_constants,
)
from mcuq_lab.baselines.tinyengine.network import (
    Kind,
    TinyLayer,
    TinyNetwork,
    to_tinyengine,
    window_of,
)
from mcuq_lab.baselines.tinyengine.reference import add
from mcuq_lab.quantgraph import QAdd, QFullyConnected, QOp, QuantGraph, QWeighted


def run_integers(graph: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    """As `run_reference`: uint8 (N, h, w, c) outputs of quantized inputs, but much quicker."""
    network = to_tinyengine(graph)
    return run_in_batches(graph, inputs, lambda op, arrays: _compute(network, op, arrays))


def _compute(network: TinyNetwork, op: QOp, arrays: list[np.ndarray]) -> np.ndarray:
    zeros = [network.tensors[name].zero_point for name in op.inputs]
    out_zero = network.tensors[op.output].zero_point
    if isinstance(op, QAdd):
        wide = [array.astype(np.int32) for array in arrays]
        return add(network.additions[op.name], wide, zeros, out_zero).astype(np.int8)
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


def _requantized(layer: TinyLayer, sums: np.ndarray, out_zero: int) -> np.ndarray:
    result, bias = np.empty(sums.shape, np.int8), layer.bias.astype(np.int64)
    if layer.kind is Kind.CONVOLVE:
        factors = (layer.multiplier.astype(np.int64), layer.shift.astype(np.int64))
        requantize_rows(sums, bias, *factors, out_zero, result)
    else:
        scale_rows(sums, bias, layer.scale, out_zero, result)
    return result
