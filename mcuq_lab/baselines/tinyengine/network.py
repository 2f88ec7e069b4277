"""The network in TinyEngine's terms: TensorFlow Lite's int8, requantized by a float where it pays.

1x1 and depthwise layers multiply their sums by one float32 and truncate, which a Cortex-M4F does in
three instructions; other convolutions use TensorFlow Lite's integer requantization. Both are what
the library does by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from mcuq_lab.baselines.cmsis_nn.tflite import Int8Network, Int8Tensor, to_tflite
from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Window
from mcuq_lab.quantgraph import QAdd, QDepthwiseConv2d, QFullyConnected, QuantGraph, QWeighted


class Kind(Enum):
    """Which kernel computes a layer with weights."""

    CONVOLVE = "convolve"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"


@dataclass(frozen=True, eq=False)
class TinyLayer:
    """Constants of a layer with weights.

    Attributes:
        kind: its kernel; a float requantization unless it is CONVOLVE.
        weight: int8 in the order of the graph: OHWI; channel, height, width for depthwise.
        bias: int32, at the scale of the sums.
        multiplier, shift: int32, the integer requantization.
        scale: float32, the other one.
    """

    kind: Kind
    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class TinyAdd:
    """Scales of an addition's operands and of its output."""

    scale_a: np.float32
    scale_b: np.float32
    scale: np.float32


@dataclass(frozen=True, eq=False)
class TinyNetwork:
    """Tensors and constants, by the names of the `QuantGraph` they were made of."""

    graph: QuantGraph
    tensors: Mapping[str, Int8Tensor]
    layers: Mapping[str, TinyLayer]
    additions: Mapping[str, TinyAdd]


def to_tinyengine(graph: QuantGraph) -> TinyNetwork:
    """The network of a graph at w8a8.

    Raises:
        ModelError: a tensor or weight of another width than 8, or an operator without a kernel.
        NumericsError: a bias or scale that the format cannot hold.
    """
    widths = {tensor.bits for tensor in graph.tensors.values()} | {op.w_bits for op in graph.layers}
    if widths != {8}:
        raise ModelError(
            f"TinyEngine computes with 8 bits everywhere; '{graph.name}' has widths "
            f"{sorted(widths)}. Measure this engine at policy w8a8."
        )
    network = to_tflite(graph)
    layers = {op.name: _layer(network, op) for op in graph.layers}
    additions = {}
    for op in graph.ops:
        if isinstance(op, QAdd):
            a, b, out = (network.tensors[name] for name in (*op.inputs, op.output))
            additions[op.name] = TinyAdd(*(np.float32(tensor.scale) for tensor in (a, b, out)))
    return TinyNetwork(graph, network.tensors, layers, additions)


def window_of(op: QWeighted) -> Window:
    """A fully connected layer is a 1x1 convolution of one pixel."""
    return Window(1, 1) if isinstance(op, QFullyConnected) else op.window


def _layer(network: Int8Network, op: QWeighted) -> TinyLayer:
    source, out = network.tensors[op.inputs[0]], network.tensors[op.output]
    constants, window = network.layers[op.name], window_of(op)
    one = (window.kernel_h, window.kernel_w) == (1, 1) and not window.padded
    if isinstance(op, QDepthwiseConv2d):
        kind = Kind.DEPTHWISE
    elif one and source.shape.c % 4 == 0:
        kind = Kind.POINTWISE
    else:
        kind = Kind.CONVOLVE
    return TinyLayer(
        kind=kind,
        weight=op.weight.astype(np.int8),
        bias=constants.bias,
        multiplier=constants.multiplier,
        shift=constants.shift,
        scale=(source.scale * op.weight_scale / out.scale).astype(np.float32),
    )
