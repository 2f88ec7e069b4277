"""One rule for each supported operator: how it becomes a node, or part of one."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import fx

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
    MaxPool,
    Node,
    WeightedNode,
    Window,
)
from mcuq_lab.models.importer.exported import arguments, operator_name
from mcuq_lab.models.importer.state import ImportState

SUPPORTED = (
    "conv2d (groups 1, or depthwise), linear, batch norm directly after either, ReLU, ReLU6, "
    "Hardtanh(0, 6), add of two tensors, max and average pooling without padding, adaptive average "
    "pooling, mean over (2, 3), flatten or view to one dimension, concat over channels, dropout, "
    "identity"
)

# What to say besides the list when one of these is met.
HINTS = dict.fromkeys(
    ("sub", "mul", "div"),
    "Leave out scaling of the input such as (x - mean) / std: train on pixel / 255, and let the "
    "first batch norm learn the rest. ",
) | dict.fromkeys(
    ("hardswish", "silu", "gelu", "leaky_relu", "elu", "sigmoid", "hardsigmoid"),
    "Train with ReLU or ReLU6 in its place. ",
)

_IDENTITIES = {
    "alias",
    "clone",
    "contiguous",
    "detach",
    "dropout",
    "dropout2d",
    "alpha_dropout",
    "feature_dropout",
    "lift_fresh_copy",
}
_RESHAPES = {"flatten", "view", "reshape", "squeeze", "unsqueeze", "_unsafe_view"}


def _conv2d(state: ImportState, operator: fx.Node) -> None:
    x, weight, bias, stride, padding, dilation, groups = arguments(
        operator, 7, (None, [1, 1], [0, 0], [1, 1], 1)
    )
    source = state.read(operator, x)
    filters = state.constant(operator, weight)
    if set(dilation) != {1}:
        raise state.refuse(operator, f"has dilation {dilation}; only 1 is supported")
    oc, ic_per_group, kh, kw = filters.shape
    depthwise = groups > 1 and groups == state.shapes[source].c == oc and ic_per_group == 1
    if groups != 1 and not depthwise:
        raise state.refuse(
            operator,
            f"has groups={groups} for {state.shapes[source].c} input and {oc} output channels; "
            "supported are 1 group, or as many groups as input and output channels (depthwise)",
        )
    state.add(
        operator,
        DepthwiseConv2d if depthwise else Conv2d,
        (source,),
        weight=np.ascontiguousarray(filters.transpose(0, 2, 3, 1)),
        bias=_bias(state.constant(operator, bias), oc),
        window=_window((kh, kw), stride, padding),
    )


def _linear(state: ImportState, operator: fx.Node) -> None:
    x, weight, bias = arguments(operator, 3, (None,))
    source = state.read(operator, x)
    matrix = state.constant(operator, weight)
    if source in state.flattened:
        m = state.flattened[source]
        matrix = matrix.reshape(-1, m.c, m.h, m.w).transpose(0, 2, 3, 1).reshape(len(matrix), -1)
    state.add(
        operator,
        FullyConnected,
        (source,),
        weight=np.ascontiguousarray(matrix),
        bias=_bias(state.constant(operator, bias), len(matrix)),
    )


def _batch_norm(state: ImportState, operator: fx.Node) -> None:
    x, gamma, beta, mean, variance, _, _, epsilon = operator.args[:8]
    source = state.read(operator, x)
    layer = state.nodes[source]
    if not isinstance(layer, WeightedNode) or layer.activation is not Activation.NONE:
        raise state.refuse(
            operator,
            f"follows {layer.op} '{source}'; batch norm must come directly after a convolution or "
            "a linear layer, so that it can be folded",
        )
    state.only_reader(operator, source)
    gamma, beta, mean, variance = (
        state.constant(operator, a) for a in (gamma, beta, mean, variance)
    )
    if mean is None or variance is None:
        raise state.refuse(operator, "keeps no running statistics; train it with them")
    scale = (1.0 if gamma is None else gamma.astype(np.float64)) / np.sqrt(variance + epsilon)
    shift = (0.0 if beta is None else beta) - mean * scale
    weight = layer.weight * scale.reshape(-1, *(1,) * (layer.weight.ndim - 1))
    state.nodes[source] = replace(
        layer,
        weight=weight.astype(np.float32),
        bias=(layer.bias * scale + shift).astype(np.float32),
    )
    state.value[operator] = source


def _relu(state: ImportState, operator: fx.Node) -> None:
    _fuse(state, operator, Activation.RELU)


def _relu6(state: ImportState, operator: fx.Node) -> None:
    _fuse(state, operator, Activation.RELU6)


def _clamp(state: ImportState, operator: fx.Node) -> None:
    _, low, high = arguments(operator, 3, (None, None))
    name = operator_name(operator)
    if name == "hardtanh":
        low, high = -1 if low is None else low, 1 if high is None else high
    bounds = {(0, 6): Activation.RELU6, (0, None): Activation.RELU}
    if (low, high) not in bounds:
        raise state.refuse(
            operator, f"clamps to [{low}, {high}]; supported are [0, 6] and [0, unlimited]"
        )
    _fuse(state, operator, bounds[low, high])


def _fuse(state: ImportState, operator: fx.Node, activation: Activation) -> None:
    source = state.read(operator, operator.args[0])
    _activate(state, operator, source, activation, behind=None)
    state.value[operator] = source


def _activate(
    state: ImportState, operator: fx.Node, source: str, activation: Activation, behind: str | None
) -> None:
    """Put the activation on the node, or, where it commutes with it, on the nodes before."""
    node = state.nodes[source]
    state.only_reader(operator, source, behind)
    if isinstance(node, WeightedNode | Add):
        both = {node.activation, activation}
        strongest = Activation.RELU6 if Activation.RELU6 in both else activation
        state.nodes[source] = replace(node, activation=strongest)
    elif isinstance(node, MaxPool | Flatten | Concat):
        for earlier in node.inputs:
            _activate(state, operator, earlier, activation, behind=source)
    else:
        raise state.refuse(
            operator,
            f"follows {node.op} '{source}'; an activation can be fused into a convolution, a "
            "linear layer or an add (also through max pooling, flatten and concat)",
        )


def _add(state: ImportState, operator: fx.Node) -> None:
    left, right = operator.args[:2]
    if operator.kwargs.get("alpha", 1) != 1:
        raise state.refuse(operator, f"has alpha={operator.kwargs['alpha']}; only 1 is supported")
    state.add(operator, Add, (state.read(operator, left), state.read(operator, right)))


def _max_pool2d(state: ImportState, operator: fx.Node) -> None:
    x, kernel, stride, padding, dilation, _ = arguments(operator, 6, ([], [0, 0], [1, 1], False))
    if set(_pair(dilation)) != {1}:
        raise state.refuse(operator, f"has dilation {dilation}; only 1 is supported")
    _pool(state, operator, MaxPool, _window(_pair(kernel), stride or kernel, padding), x)


def _avg_pool2d(state: ImportState, operator: fx.Node) -> None:
    x, kernel, stride, padding, _, _, divisor = arguments(
        operator, 7, ([], [0, 0], False, True, None)
    )
    window = _window(_pair(kernel), stride or kernel, padding)
    if divisor not in (None, window.kernel_h * window.kernel_w):
        raise state.refuse(operator, f"has divisor_override={divisor}, which is not supported")
    _pool(state, operator, AveragePool, window, x)


def _adaptive_avg_pool2d(state: ImportState, operator: fx.Node) -> None:
    x, size = operator.args[:2]
    shape = state.shapes[state.read(operator, x)]
    oh, ow = operator.meta["val"].shape[2:]
    if shape.h % oh or shape.w % ow:
        raise state.refuse(operator, f"makes {size} of {shape}; the sizes must divide one another")
    kernel = (shape.h // oh, shape.w // ow)
    _pool(state, operator, AveragePool, _window(kernel, kernel, 0), x)


def _pool(
    state: ImportState, operator: fx.Node, kind: type[Node], window: Window, x: fx.Node
) -> None:
    source = state.read(operator, x)
    shape = state.shapes[source]
    if window.padded:
        raise state.refuse(operator, "is padded; only pooling without padding is supported")
    if (window.kernel_h, window.kernel_w, window.stride_h, window.stride_w) == (1, 1, 1, 1):
        state.value[operator] = source
    elif kind is AveragePool and (window.kernel_h, window.kernel_w) == (shape.h, shape.w):
        state.add(operator, GlobalAveragePool, (source,))
    else:
        state.add(operator, kind, (source,), window=window)


def _mean(state: ImportState, operator: fx.Node) -> None:
    x, dims = operator.args[:2]
    source = state.read(operator, x)
    if {d % 4 for d in dims} != {2, 3} or x.meta["val"].ndim != 4:
        raise state.refuse(operator, f"is over dimensions {dims}; only (2, 3) is supported")
    if (state.shapes[source].h, state.shapes[source].w) == (1, 1):
        state.value[operator] = source
    else:
        state.add(operator, GlobalAveragePool, (source,))


def _reshape(state: ImportState, operator: fx.Node) -> None:
    source = state.read(operator, operator.args[0])
    before, after = operator.args[0].meta["val"].shape, operator.meta["val"].shape
    shape = state.shapes[source]
    pixel = (shape.h, shape.w) == (1, 1)
    if before == after or (pixel and sum(d > 1 for d in after) <= 1):
        state.value[operator] = source
    elif tuple(after) == (1, shape.size):
        state.add(operator, Flatten, (source,))
        state.flattened[state.value[operator]] = shape
    else:
        raise state.refuse(
            operator, f"makes {tuple(after)} of {tuple(before)}; only flattening is supported"
        )


def _cat(state: ImportState, operator: fx.Node) -> None:
    tensors, dim = arguments(operator, 2, (0,))
    if dim % operator.meta["val"].ndim != 1:
        raise state.refuse(operator, f"is over dimension {dim}; only channels (1) are supported")
    state.add(operator, Concat, tuple(state.read(operator, t) for t in tensors))


def _bias(bias: np.ndarray | None, oc: int) -> np.ndarray:
    return np.zeros(oc, np.float32) if bias is None else bias


def _pair(value: int | list[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _window(kernel: tuple[int, int], stride: object, padding: object) -> Window:
    """padding: a number, a pair, or torch's words 'valid' and 'same' (which has stride 1)."""
    kh, kw = kernel
    if padding == "same":
        # torch puts the odd pixel at the end.
        top, left = (kh - 1) // 2, (kw - 1) // 2
        sides = (top, kh - 1 - top, left, kw - 1 - left)
    else:
        ph, pw = (0, 0) if padding == "valid" else _pair(padding)
        sides = (ph, ph, pw, pw)
    return Window(kh, kw, *_pair(stride), *sides)


RULES: dict[str, Callable[[ImportState, fx.Node], None]] = (
    {
        "conv2d": _conv2d,
        "linear": _linear,
        "batch_norm": _batch_norm,
        "relu": _relu,
        "relu6": _relu6,
        "hardtanh": _clamp,
        "clamp": _clamp,
        "clamp_min": _clamp,
        "add": _add,
        "max_pool2d": _max_pool2d,
        "avg_pool2d": _avg_pool2d,
        "adaptive_avg_pool2d": _adaptive_avg_pool2d,
        "mean": _mean,
        "cat": _cat,
        "concat": _cat,
    }
    | dict.fromkeys(_IDENTITIES, ImportState.alias)
    | dict.fromkeys(_RESHAPES, _reshape)
)
