"""A `Graph` as a torch computation, with a hook on every tensor.

Tensors are NCHW in torch's channels_last memory format, that is NHWC in memory. A flat tensor is
(N, c, 1, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import (
    Activation,
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
    Window,
)

Hook = Callable[[str, Tensor], Tensor]
Parameters = Mapping[str, tuple[Tensor, Tensor]]


def run_graph(graph: Graph, parameters: Parameters, x: Tensor, hook: Hook) -> Tensor:
    """The network's output, (N, c, h, w).

    Args:
        graph: the network.
        parameters: weight (torch layout, see `torch_layout`) and bias of each layer, by name.
        x: input, float (N, c, h, w).
        hook: called with the name and the value of each tensor, the input included; what it
            returns is what the readers see. Fused activations are *not* applied before.
    """
    values = {graph.input.name: hook(graph.input.name, x)}
    for node in graph.nodes[1:]:
        arrays = [values[name] for name in node.inputs]
        y = evaluate_node(node, arrays, parameters.get(node.name))
        values[node.name] = hook(node.name, y)
    return values[graph.output.name]


def float_logits(graph: Graph, parameters: Parameters, x: Tensor, observe: Hook | None = None):
    """Output of the float network, (N, classes); `observe` sees every tensor after activation."""

    def hook(name: str, y: Tensor) -> Tensor:
        y = activate(y, getattr(graph.by_name[name], "activation", Activation.NONE))
        return y if observe is None else observe(name, y)

    return run_graph(graph, parameters, x, hook).flatten(1)


def graph_parameters(graph: Graph) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights (torch layout) and biases of a graph's layers, by name."""
    return {
        layer.name: (torch_layout(layer.weight), torch.tensor(layer.bias, dtype=torch.float32))
        for layer in graph.layers
    }


def torch_layout(weight: np.ndarray) -> Tensor:
    """A weight of the graph as a tensor (a copy) in torch's layout: OIHW, or (oc, ic)."""
    tensor = torch.tensor(weight, dtype=torch.float32)
    # OHWI memory *is* channels_last OIHW.
    return tensor if tensor.ndim == 2 else tensor.permute(0, 3, 1, 2)


def graph_layout(weight: Tensor) -> np.ndarray:
    """Inverse of `torch_layout`: a numpy array (a copy), OHWI or (oc, ic)."""
    weight = weight.detach()
    weight = weight if weight.ndim == 2 else weight.permute(0, 2, 3, 1)
    return weight.contiguous().numpy().copy()


def real_images(graph: Graph, images: np.ndarray) -> Tensor:
    """uint8 NHWC images as the float network's input, (N, c, h, w)."""
    node = graph.input
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return node.low + x * ((node.high - node.low) / 255)


def activate(y: Tensor, activation: Activation) -> Tensor:
    """A fused activation as a function of its own."""
    if activation is Activation.RELU:
        return torch.relu(y)
    return F.relu6(y) if activation is Activation.RELU6 else y


@singledispatch
def evaluate_node(
    node: Node, inputs: list[Tensor], parameters: tuple[Tensor, Tensor] | None
) -> Tensor:
    """One operator without its fused activation."""
    raise ModelError(f"{node.op} '{node.name}' cannot be quantized.")


@evaluate_node.register(Conv2d)
@evaluate_node.register(DepthwiseConv2d)
def _(node, inputs, parameters):
    return convolve(inputs[0], *parameters, node.window, isinstance(node, DepthwiseConv2d))


@evaluate_node.register
def _(node: FullyConnected, inputs, parameters):
    return F.linear(inputs[0].flatten(1), *parameters)[:, :, None, None]


@evaluate_node.register
def _(node: Add, inputs, parameters):
    return inputs[0] + inputs[1]


@evaluate_node.register
def _(node: AveragePool, inputs, parameters):
    window = node.window
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    return F.avg_pool2d(inputs[0], kernel, stride)


@evaluate_node.register
def _(node: GlobalAveragePool, inputs, parameters):
    return inputs[0].mean((2, 3), keepdim=True)


@evaluate_node.register
def _(node: MaxPool, inputs, parameters):
    window = node.window
    kernel, stride = (window.kernel_h, window.kernel_w), (window.stride_h, window.stride_w)
    return F.max_pool2d(inputs[0], kernel, stride)


@evaluate_node.register
def _(node: Flatten, inputs, parameters):
    return inputs[0].permute(0, 2, 3, 1).flatten(1)[:, :, None, None]


@evaluate_node.register
def _(node: Concat, inputs, parameters):
    return torch.cat(inputs, 1)


def evenly_padded(x: Tensor, window: Window) -> tuple[Tensor, tuple[int, int]]:
    """`x` and the padding (vertical, horizontal) that is left to a convolution: `x` is padded here
    where opposite sides differ."""
    padding = (window.pad_top, window.pad_left)
    if padding == (window.pad_bottom, window.pad_right):
        return x, padding
    sides = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    return F.pad(x, sides), (0, 0)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, window: Window, depthwise: bool
) -> Tensor:
    """A convolution with zero padding, which torch takes only if opposite sides are equal."""
    x, padding = evenly_padded(x, window)
    stride = (window.stride_h, window.stride_w)
    if weight.shape[2:] == (1, 1) and padding == (0, 0) and stride != (1, 1):
        # The pixels that count, first. With a stride, the gradient of a 1x1 convolution writes
        # beyond its memory where channels do not fill vectors (torch 2.13, oneDNN's AVX2 kernels).
        x, stride = x[:, :, :: stride[0], :: stride[1]], (1, 1)
    groups = x.shape[1] if depthwise else 1
    return F.conv2d(x, weight, bias, stride, padding, groups=groups)
