"""CMSIS-NN's integers run quickly, on many images: equal to `run_reference` bit for bit."""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.cmsis_nn.reference import scaled
from mcuq_lab.baselines.cmsis_nn.tflite import (
    ADD_LEFT_SHIFT,
    QMAX,
    QMIN,
    Int8Add,
    Int8Network,
    Int8Tensor,
    to_tflite,
)
from mcuq_lab.baselines.int8_executor import (
    convolution_sums,
    depthwise_convolution_sums,
    factor_constants,
    requantized,
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
    factors = (layer.multiplier, layer.shift)
    return requantized(sums, layer.bias, *factors, zero_point).reshape(len(x), *out, -1)


def _add(
    constants: Int8Add, sources: list[Int8Tensor], zero_point: int, arrays: list[np.ndarray]
) -> np.ndarray:
    from mcuq_lab.baselines.int8_compiled import add_integers  # numba with it

    a, b = (np.ascontiguousarray(array) for array in arrays)
    result = np.empty(a.shape, np.int8)
    tables = [
        scaled((np.arange(QMIN, QMAX + 1) - source.zero_point) << ADD_LEFT_SHIFT, factor)
        for source, factor in zip(sources, (constants.a, constants.b), strict=True)
    ]
    factors = tuple(int(c) for c in factor_constants(constants.out.multiplier, constants.out.shift))
    add_integers(a.ravel(), b.ravel(), *tables, factors, zero_point, result.reshape(-1))
    return result
