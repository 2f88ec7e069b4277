"""Runs a Graph in float32: the oracle of the importer, and the float side of every comparison."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
    Input,
    MaxPool,
    Node,
    WeightedNode,
    Window,
)

# All tensors of a batch are kept until it is done; this many images need some 200 MB.
_BATCH = 250


def run_float(graph: Graph, x: np.ndarray | Tensor) -> np.ndarray:
    """The output of the graph: (N, classes), or NHWC if the output is a map.

    x: NHWC; float in [0, 1], or uint8, which is divided by 255.
    """
    batches = torch.as_tensor(x).split(_BATCH)
    return np.concatenate([run_float_all(graph, batch)[graph.output.name] for batch in batches])


@torch.no_grad()
def run_float_all(graph: Graph, x: np.ndarray | Tensor) -> dict[str, np.ndarray]:
    """Every node's tensor by name, NHWC; tensors of 1x1 pixel as (N, C)."""
    x = torch.as_tensor(x)
    x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
    # Inside, tensors are NCHW (torch's operators want it) with NHWC memory.
    values: dict[str, Tensor] = {graph.input.name: x.permute(0, 3, 1, 2)}
    for node in graph.nodes[1:]:
        inputs = [values[name] for name in node.inputs]
        y = _RUN[type(node)](node, *inputs)
        values[node.name] = _activate(y, getattr(node, "activation", Activation.NONE))
    return {
        name: (v.flatten(1) if v.shape[2:] == (1, 1) else v.permute(0, 2, 3, 1)).numpy()
        for name, v in values.items()
    }


def _activate(x: Tensor, activation: Activation) -> Tensor:
    match activation:
        case Activation.RELU:
            return x.relu()
        case Activation.RELU6:
            return x.clamp(0, 6)
        case _:
            return x


def _pad(x: Tensor, window: Window) -> Tensor:
    return F.pad(x, (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom))


def _parameters(node: WeightedNode) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(node.weight), torch.from_numpy(node.bias)


def _conv(node: Conv2d | DepthwiseConv2d, x: Tensor) -> Tensor:
    weight, bias = _parameters(node)
    groups = x.shape[1] if isinstance(node, DepthwiseConv2d) else 1
    stride = (node.window.stride_h, node.window.stride_w)
    return F.conv2d(
        _pad(x, node.window), weight.permute(0, 3, 1, 2), bias, stride=stride, groups=groups
    )


def _fully_connected(node: FullyConnected, x: Tensor) -> Tensor:
    return F.linear(x.flatten(1), *_parameters(node))[:, :, None, None]


def _pool(kernel: Callable[..., Tensor]) -> Callable[[Node, Tensor], Tensor]:
    def run(node: AveragePool | MaxPool, x: Tensor) -> Tensor:
        w = node.window
        return kernel(x, (w.kernel_h, w.kernel_w), (w.stride_h, w.stride_w))

    return run


_RUN: dict[type[Node], Callable[..., Tensor]] = {
    Input: lambda node, x: x,
    Conv2d: _conv,
    DepthwiseConv2d: _conv,
    FullyConnected: _fully_connected,
    Add: lambda node, x, y: x + y,
    AveragePool: _pool(F.avg_pool2d),
    MaxPool: _pool(F.max_pool2d),
    GlobalAveragePool: lambda node, x: x.mean((2, 3), keepdim=True),
    Flatten: lambda node, x: x.permute(0, 2, 3, 1).flatten(1)[:, :, None, None],
    Concat: lambda node, *xs: torch.cat(xs, dim=1),
}
