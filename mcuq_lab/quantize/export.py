"""From real weights and steps to an integer network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import numpy as np

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import (
    Add,
    AveragePool,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    FullyConnected,
    GlobalAveragePool,
    Graph,
    MaxPool,
    Node,
    WeightedNode,
    Window,
)
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
)
from mcuq_lab.quantize.ranges import check_ranges
from mcuq_lab.quantize.requantize import (
    requantize_add,
    requantize_average,
    requantize_weighted,
)
from mcuq_lab.quantize.state import QuantState, integer_weights
from mcuq_lab.quantize.tensors import group_of_tensor, tensor_groups


def to_integers(graph: Graph, state: QuantState) -> QuantGraph:
    """The integer network of `graph` with the weights and steps of `state`.

    Raises:
        ModelError: an operator or a concatenation that integers cannot express.
        NumericsError: a layer whose sums or scales leave the specification's range; names it.
    """
    groups = group_of_tensor(tensor_groups(graph))
    tensors = {}
    for name, shape in graph.shapes.items():
        affine = state.maps[groups[name].name]
        tensors[name] = QTensor(name, shape, affine.bits, affine.scale, affine.zero_point)
    w_bits = {
        layer.name: bits.w_bits
        for layer, bits in zip(graph.layers, state.policy.layers, strict=True)
    }
    ops = tuple(_export(node, tensors, state, w_bits.get(node.name)) for node in graph.nodes[1:])
    result = QuantGraph(graph.name, state.policy, tensors, ops, graph.input.name, graph.output.name)
    check_ranges(result)
    return result


@singledispatch
def _export(
    node: Node, tensors: Mapping[str, QTensor], state: QuantState, w_bits: int | None
) -> QOp:
    raise ModelError(
        f"{node.op} '{node.name}' has no integer form; supported are convolutions, fully connected "
        "layers, additions, pooling, flattening and concatenation."
    )


@_export.register(Conv2d)
@_export.register(DepthwiseConv2d)
@_export.register(FullyConnected)
def _(node: WeightedNode, tensors, state, w_bits):
    name = node.name
    source, output = tensors[node.inputs[0]], tensors[name]
    scale = np.asarray(state.weight_scales[name], np.float64)
    bias = np.asarray(state.biases[name], np.float64)
    weight = integer_weights(state.weights[name], state.weight_scales[name], w_bits)
    constants = requantize_weighted(name, weight, scale, bias, source, output)
    fields = (name, node.inputs, name, weight, w_bits, scale, bias, constants)
    if isinstance(node, Conv2d):
        return QConv2d(*fields, node.window)
    if isinstance(node, DepthwiseConv2d):
        return QDepthwiseConv2d(*fields, node.window)
    return QFullyConnected(*fields)


@_export.register
def _(node: Add, tensors, state, w_bits):
    output = tensors[node.name]
    constants = requantize_add(node.name, *(tensors[name] for name in node.inputs), output)
    return QAdd(node.name, node.inputs, node.name, *constants, output.bits)


@_export.register(AveragePool)
@_export.register(GlobalAveragePool)
def _(node, tensors, state, w_bits):
    source = tensors[node.inputs[0]]
    shape = source.shape
    window = getattr(node, "window", Window(shape.h, shape.w))
    elements = window.kernel_h * window.kernel_w
    constants = requantize_average(node.name, elements, source, tensors[node.name])
    return QAveragePool(node.name, node.inputs, node.name, window, constants)


@_export.register
def _(node: MaxPool, tensors, state, w_bits):
    return QMaxPool(node.name, node.inputs, node.name, node.window)


@_export.register
def _(node: Flatten, tensors, state, w_bits):
    return QFlatten(node.name, node.inputs, node.name)


@_export.register
def _(node: Concat, tensors, state, w_bits):
    return QConcat(node.name, node.inputs, node.name)
