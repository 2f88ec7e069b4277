"""CMSIS-NN's integers run quickly, on many images: equal to `run_reference` bit for bit."""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.cmsis_nn.tflite import (
    ADD_LEFT_SHIFT,
    Int8Add,
    Int8Layer,
    Int8Network,
    Int8Tensor,
    to_tflite,
)
from mcuq_lab.baselines.int8_compiled import add_integers, requantize_rows
from mcuq_lab.baselines.int8_executor import (
    convolution_sums,
    depthwise_convolution_sums,
    run_in_batches,
    size_of,
    without_constants,
)
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import (
    QAdd,
    QDepthwiseConv2d,
    QFullyConnected,
    QOp,
    QuantGraph,
    QWeighted,
)


def run_integers(graph: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    """As `run_reference`: uint8 (N, h, w, c) outputs of quantized inputs, but much quicker."""
    network = to_tflite(graph)
    return run_in_batches(graph, inputs, lambda op, arrays: _compute(network, op, arrays))


def _compute(network: Int8Network, op: QOp, arrays: list[np.ndarray]) -> np.ndarray:
    sources = [network.tensors[name] for name in op.inputs]
    zero_point = network.tensors[op.output].zero_point
    if isinstance(op, QAdd):
        return _add(network.additions[op.name], sources, zero_point, arrays)
    if not isinstance(op, QWeighted):
        return without_constants(op, arrays)
    layer, out = network.layers[op.name], size_of(network.graph, op)
    x, source_zero = arrays[0], sources[0].zero_point
    if isinstance(op, QDepthwiseConv2d):
        sums = depthwise_convolution_sums(x, source_zero, layer.weight, op.window, out)
    else:
        fully = isinstance(op, QFullyConnected)
        x, window = (x.reshape(len(x), 1, 1, -1), Window(1, 1)) if fully else (x, op.window)
        rows = layer.weight.reshape(len(layer.weight), -1)
        sums = convolution_sums(x, source_zero, rows, window, out)
    return _requantized(layer, sums, zero_point).reshape(len(x), *out, -1)


def _requantized(layer: Int8Layer, sums: np.ndarray, zero_point: int) -> np.ndarray:
    """int8 (pixels, oc) of sums (pixels, oc) by the integer requantization."""
    result = np.empty(sums.shape, np.int8)
    constants = (layer.bias, layer.multiplier, layer.shift)
    requantize_rows(sums, *(c.astype(np.int64) for c in constants), zero_point, result)
    return result


def _add(
    constants: Int8Add, sources: list[Int8Tensor], zero_point: int, arrays: list[np.ndarray]
) -> np.ndarray:
    factors = (constants.a, constants.b, constants.out)
    a, b = (np.ascontiguousarray(array) for array in arrays)
    result = np.empty(a.shape, np.int8)
    add_integers(
        a.ravel(),
        b.ravel(),
        np.array([source.zero_point for source in sources], np.int64),
        np.array([factor.multiplier for factor in factors], np.int64),
        np.array([factor.shift for factor in factors], np.int64),
        ADD_LEFT_SHIFT,
        zero_point,
        result.reshape(-1),
    )
    return result
