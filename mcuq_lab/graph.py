"""The network as all floors see it: a small, frozen graph of float operators.

Conventions, defined once:

- Dimension letters: `n` batch (always 1 here), `h` height, `w` width, `c` channels; `oc` output
  channels, `kh` x `kw` kernel, `ic` input channels.
- Activations are NHWC, weights OHWI (`oc, kh, kw, ic`); a depthwise weight is `c, kh, kw, 1`, a
  fully connected one `oc, ic`.
- Every node yields exactly one tensor, which carries the node's name.
- Batch norm is folded and ReLU/ReLU6 fused before a `Graph` exists.
- Bit-width policies name a width pair for each *layer*: a node with weights, in graph order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType

import numpy as np

from mcuq_lab.errors import ModelError


class Activation(StrEnum):
    """The non-linearity fused into a node's output."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


@dataclass(frozen=True)
class Shape:
    """Height, width and channels of an activation (the batch is always 1)."""

    h: int
    w: int
    c: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.h * self.w * self.c

    def __str__(self) -> str:
        return f"{self.h}x{self.w}x{self.c}"


@dataclass(frozen=True)
class Window:
    """Where a kernel looks: its size, stride and zero padding, in pixels."""

    kernel_h: int
    kernel_w: int
    stride_h: int = 1
    stride_w: int = 1
    pad_top: int = 0
    pad_bottom: int = 0
    pad_left: int = 0
    pad_right: int = 0

    @classmethod
    def square(cls, kernel: int, stride: int = 1, pad: int = 0) -> Window:
        """A kernel x kernel window with the same stride and padding on all sides."""
        return cls(kernel, kernel, stride, stride, pad, pad, pad, pad)

    def output(self, h: int, w: int) -> tuple[int, int]:
        """Height and width of the output for an `h` x `w` input."""
        return (
            (h + self.pad_top + self.pad_bottom - self.kernel_h) // self.stride_h + 1,
            (w + self.pad_left + self.pad_right - self.kernel_w) // self.stride_w + 1,
        )

    @property
    def padded(self) -> bool:
        """Whether any side is padded."""
        return bool(self.pad_top or self.pad_bottom or self.pad_left or self.pad_right)

    def __str__(self) -> str:
        text = f"{self.kernel_h}x{self.kernel_w}"
        if (self.stride_h, self.stride_w) != (1, 1):
            text += f" /{self.stride_h}"
        return text


@dataclass(frozen=True, eq=False)
class Node:
    """One operator. `inputs` are the names of the nodes whose tensors it reads."""

    name: str
    inputs: tuple[str, ...]

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        """Output shape for the given input shapes; raises ModelError where they do not fit."""
        raise NotImplementedError

    def macs(self, shapes: tuple[Shape, ...]) -> int:
        """Multiply-accumulates of one inference."""
        return 0

    @property
    def op(self) -> str:
        """The operator's name as shown in tables."""
        return type(self).__name__

    def _refuse(self, why: str) -> ModelError:
        return ModelError(f"{self.op} '{self.name}': {why}.")


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The network's input; floats in `[low, high]`, quantized by whoever feeds the network."""

    shape: Shape
    low: float = 0.0
    high: float = 1.0

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        if self.inputs:
            raise self._refuse("an input reads no other node")
        return self.shape


@dataclass(frozen=True, eq=False)
class WeightedNode(Node):
    """A layer: a node with weights, whose widths a policy chooses.

    `weight` is float32, `bias` float32 of shape (oc,).
    """

    weight: np.ndarray
    bias: np.ndarray
    activation: Activation = Activation.NONE

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[0])

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return int(self.weight.size + self.bias.size)

    def _check_parameters(self, expected: tuple[int, ...]) -> None:
        if self.weight.shape != expected:
            raise self._refuse(f"weight has shape {self.weight.shape}, its input needs {expected}")
        if self.bias.shape != (self.out_channels,):
            raise self._refuse(f"bias has shape {self.bias.shape}, expected {(self.out_channels,)}")


@dataclass(frozen=True, eq=False)
class Conv2d(WeightedNode):
    """Dense two-dimensional convolution; weight OHWI."""

    window: Window = Window(1, 1)

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        self._check_parameters((self.out_channels, self.window.kernel_h, self.window.kernel_w, x.c))
        return _window_shape(self, self.window, x, self.out_channels)

    def macs(self, shapes: tuple[Shape, ...]) -> int:
        out = self.infer(shapes)
        return out.h * out.w * int(self.weight.size)


@dataclass(frozen=True, eq=False)
class DepthwiseConv2d(WeightedNode):
    """Depthwise convolution, one filter a channel; weight (c, kh, kw, 1)."""

    window: Window = Window(3, 3)

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        self._check_parameters((x.c, self.window.kernel_h, self.window.kernel_w, 1))
        return _window_shape(self, self.window, x, x.c)

    def macs(self, shapes: tuple[Shape, ...]) -> int:
        out = self.infer(shapes)
        return out.h * out.w * int(self.weight.size)


@dataclass(frozen=True, eq=False)
class FullyConnected(WeightedNode):
    """Matrix-vector product on a flat input; weight (oc, ic)."""

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        if (x.h, x.w) != (1, 1):
            raise self._refuse(f"reads a {x} tensor; put a Flatten before it")
        self._check_parameters((self.out_channels, x.c))
        return Shape(1, 1, self.out_channels)

    def macs(self, shapes: tuple[Shape, ...]) -> int:
        return int(self.weight.size)


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Elementwise sum of two tensors of one shape."""

    activation: Activation = Activation.NONE

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        if len(shapes) != 2 or shapes[0] != shapes[1]:
            raise self._refuse(
                f"needs two operands of one shape, has {', '.join(map(str, shapes))}"
            )
        return shapes[0]


@dataclass(frozen=True, eq=False)
class AveragePool(Node):
    """Mean over a window without padding."""

    window: Window = Window(2, 2, 2, 2)

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        if self.window.padded:
            raise self._refuse("padded pooling is not supported; pad before, or choose no padding")
        return _window_shape(self, self.window, x, x.c)


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """Maximum over a window without padding."""

    window: Window = Window(2, 2, 2, 2)

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        if self.window.padded:
            raise self._refuse("padded pooling is not supported; pad before, or choose no padding")
        return _window_shape(self, self.window, x, x.c)


@dataclass(frozen=True, eq=False)
class GlobalAveragePool(Node):
    """Mean over height and width."""

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        return Shape(1, 1, x.c)


@dataclass(frozen=True, eq=False)
class Flatten(Node):
    """All elements in NHWC order as channels of one pixel."""

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        (x,) = shapes
        return Shape(1, 1, x.size)


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Joins tensors of one height and width along the channels."""

    def infer(self, shapes: tuple[Shape, ...]) -> Shape:
        if len({(s.h, s.w) for s in shapes}) != 1:
            raise self._refuse(f"operands differ in height or width: {', '.join(map(str, shapes))}")
        return Shape(shapes[0].h, shapes[0].w, sum(s.c for s in shapes))


def _window_shape(node: Node, window: Window, x: Shape, channels: int) -> Shape:
    h, w = window.output(x.h, x.w)
    if h < 1 or w < 1:
        raise node._refuse(f"window {window} is larger than its {x} input")
    return Shape(h, w, channels)


@dataclass(frozen=True, eq=False)
class Graph:
    """A float network: nodes in execution order, the first the input, the last the output.

    Raises:
        ModelError: a node's name is taken, its input comes later or nowhere, a shape does not fit,
            or a tensor other than the output is read by nobody.
    """

    name: str
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if not self.nodes or not isinstance(self.nodes[0], Input):
            raise ModelError(f"Graph '{self.name}': the first node must be its Input.")
        seen: dict[str, Shape] = {}
        for node in self.nodes:
            if isinstance(node, Input) and seen:
                raise ModelError(f"Graph '{self.name}': only one Input is supported.")
            if node.name in seen:
                raise ModelError(f"Graph '{self.name}': two nodes are called '{node.name}'.")
            for source in node.inputs:
                if source not in seen:
                    raise ModelError(
                        f"{node.op} '{node.name}' reads '{source}', which no earlier node yields."
                    )
            seen[node.name] = node.infer(tuple(seen[source] for source in node.inputs))
        object.__setattr__(self, "_shapes", MappingProxyType(seen))
        for node in self.nodes[:-1]:
            if not self.consumers(node.name):
                raise ModelError(f"{node.op} '{node.name}' is read by nobody; remove it.")

    @property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every tensor by node name."""
        return self._shapes  # type: ignore[attr-defined]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    @property
    def input(self) -> Input:
        return self.nodes[0]  # type: ignore[return-value]

    @property
    def output(self) -> Node:
        return self.nodes[-1]

    @property
    def layers(self) -> tuple[WeightedNode, ...]:
        """The nodes with weights, in graph order: what a policy speaks of."""
        return tuple(node for node in self.nodes if isinstance(node, WeightedNode))

    def consumers(self, name: str) -> tuple[Node, ...]:
        """The nodes that read tensor `name`."""
        return tuple(node for node in self.nodes if name in node.inputs)

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of the tensors that `node` reads."""
        return tuple(self.shapes[source] for source in node.inputs)

    def macs(self, node: Node) -> int:
        """Multiply-accumulates of one node in one inference."""
        return node.macs(self.input_shapes(node))

    @property
    def total_macs(self) -> int:
        return sum(self.macs(node) for node in self.nodes)

    @property
    def parameter_count(self) -> int:
        return sum(layer.parameter_count for layer in self.layers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over structure and parameters; equal graphs have equal digests."""
        state = hashlib.sha256(self.name.encode())
        for node in self.nodes:
            state.update(node.op.encode())
            for field in fields(node):
                value = getattr(node, field.name)
                data = value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
                state.update(field.name.encode() + b"=" + data + b";")
        return state.hexdigest()

    def __str__(self) -> str:
        width = max(len(node.name) for node in self.nodes)
        lines = [
            f"{self.name}: {self.total_macs:,} MACs, {self.parameter_count:,} parameters",
            f"{'node':<{width}}  {'operator':<18} {'window':<8} {'output':<10} {'MACs':>11} "
            f"{'params':>8}  reads",
        ]
        for node in self.nodes:
            activation = getattr(node, "activation", Activation.NONE)
            operator = node.op + (f"+{activation}" if activation != Activation.NONE else "")
            parameters = node.parameter_count if isinstance(node, WeightedNode) else 0
            lines.append(
                f"{node.name:<{width}}  {operator:<18} {getattr(node, 'window', '')!s:<8} "
                f"{self.shapes[node.name]!s:<10} {self.macs(node):>11,} {parameters:>8,}  "
                f"{', '.join(node.inputs)}"
            )
        return "\n".join(lines)
