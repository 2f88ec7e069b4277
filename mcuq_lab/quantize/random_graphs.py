"""Random integer networks, from a seed: what the property tests of every engine run on.

They are small, but cover what real networks rarely do: odd channel counts, any padding, zero points
on either side, all widths, saturated outputs, weights all at one end of their range.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mcuq_lab.graph import Shape, Window
from mcuq_lab.policy import Policy
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
    QWeighted,
)
from mcuq_lab.quantize.requantize import (
    requantize_add,
    requantize_average,
    requantize_weighted,
)

WEIGHT_KINDS = ("random", "lowest", "highest", "ends", "sparse")
"""How weights are drawn: uniform, all lowest, all highest, either end, mostly zero."""


def random_graph(
    seed: int,
    *,
    max_ops: int = 6,
    max_side: int = 9,
    max_channels: int = 9,
    bits: int | None = None,
    w_bits: Sequence[int] = (),
) -> QuantGraph:
    """A random network of 1 to about `max_ops` operators; equal seeds give equal networks.

    `max_side` bounds height and width of the input, `max_channels` the channels everywhere;
    `bits` is the width of all weights and tensors, None draws each from 2..8; each layer's weights
    have one of the widths `w_bits` instead, if any are given.
    """
    rng = np.random.default_rng(seed)
    build = _Builder(rng, f"random_{seed}", max_channels, bits, tuple(w_bits))
    h, w = rng.integers(1, max_side + 1, 2)
    build.start(Shape(int(h), int(w), int(rng.integers(1, max_channels + 1))))
    target = int(rng.integers(1, max_ops + 1))
    while len(build.ops) < target:
        step = build.steps()[rng.integers(len(build.steps()))]
        step()
    return build.finish()


def single_layer(
    kind: type[QWeighted],
    shape: Shape,
    out_channels: int,
    window: Window | None = None,
    *,
    w_bits: int = 8,
    a_bits: int = 8,
    out_bits: int = 8,
    zero_point: int = 0,
    out_zero_point: int = 0,
    weights: str = "random",
    seed: int = 0,
) -> QuantGraph:
    """A network of one layer with random weights, for tests and measurements of one kernel.

    Args:
        kind: QConv2d, QDepthwiseConv2d (out_channels must be shape.c) or QFullyConnected.
        shape: of the input.
        out_channels: channels of the output.
        window: kernel, stride and padding; none for a fully connected layer.
        w_bits, a_bits, out_bits: widths of weights, input and output.
        zero_point, out_zero_point: of input and output.
        weights: one of WEIGHT_KINDS.
        seed: of weights, scales and biases.
    """
    build = _Builder(np.random.default_rng(seed), f"{kind.__name__}_{shape}_{out_channels}")
    build.start(shape, a_bits, zero_point)
    build.layer(kind, out_channels, window, w_bits, out_bits, out_zero_point, weights)
    return build.finish()


def random_inputs(graph: QuantGraph, n: int, seed: int = 0) -> np.ndarray:
    """n inputs, uint8 (n, h, w, c): one of zeros, one of the largest value, the rest uniform."""
    tensor, rng = graph.input, np.random.default_rng(seed)
    shape = (n, tensor.shape.h, tensor.shape.w, tensor.shape.c)
    values = rng.integers(0, tensor.qmax + 1, shape).astype(np.uint8)
    values[1:2] = 0
    values[2:3] = tensor.qmax
    return values


@dataclass
class _Builder:
    """A network under construction; `x` is the tensor that the next operator reads."""

    rng: np.random.Generator
    name: str
    max_channels: int = 9
    bits: int | None = None
    w_choices: tuple[int, ...] = ()
    tensors: dict[str, QTensor] = field(default_factory=dict)
    ops: list[QOp] = field(default_factory=list)
    x: QTensor = None  # type: ignore[assignment]

    def start(self, shape: Shape, bits: int | None = None, zero_point: int | None = None) -> None:
        self.x = self.tensor("input", shape, bits, zero_point)

    def finish(self) -> QuantGraph:
        layers = [op for op in self.ops if isinstance(op, QWeighted)]
        policy = Policy.of((op.w_bits, self.tensors[op.inputs[0]].bits) for op in layers)
        return QuantGraph(
            self.name, policy, self.tensors, tuple(self.ops), "input", self.ops[-1].output
        )

    def tensor(
        self, name: str, shape: Shape, bits: int | None = None, zero_point: int | None = None
    ) -> QTensor:
        bits = self.draw_bits() if bits is None else bits
        if zero_point is None:
            zero_point = int(self.rng.integers(0, 1 << bits)) if self.rng.random() < 0.5 else 0
        scale = float(2.0 ** self.rng.uniform(-8, 2))
        self.tensors[name] = QTensor(name, shape, bits, scale, zero_point)
        return self.tensors[name]

    def steps(self):
        """The operators that can follow x."""
        shape, large = self.x.shape, self.x.shape.size > 256
        if (shape.h, shape.w) == (1, 1):
            return [self.fully_connected, self.fully_connected, self.pointwise]
        steps = [self.conv, self.conv, self.pointwise, self.depthwise, self.depthwise]
        steps += [self.residual, self.average_pool, self.max_pool, self.global_pool, self.fire]
        return steps if large else [*steps, self.flatten]

    def emit(self, op: QOp) -> QTensor:
        self.ops.append(op)
        self.x = self.tensors[op.output]
        return self.x

    def draw_bits(self) -> int:
        return int(self.rng.integers(2, 9)) if self.bits is None else self.bits

    def draw_w_bits(self) -> int:
        return int(self.rng.choice(self.w_choices)) if self.w_choices else self.draw_bits()

    def fresh(self, stem: str) -> str:
        return f"{stem}_{len(self.ops)}"

    def channels(self) -> int:
        return int(self.rng.integers(1, self.max_channels + 1))

    def window(self, kernel: int, *, same: bool = False) -> Window:
        """Random stride and padding; shrinks the kernel where x would be too small."""
        if same:
            return Window.square(kernel, 1, kernel // 2)
        shape = self.x.shape
        top, bottom, left, right = (int(p) for p in self.rng.integers(0, kernel, 4))
        kernel_h = min(kernel, shape.h + top + bottom)
        kernel_w = min(kernel, shape.w + left + right)
        stride_h = int(self.rng.integers(1, 3))
        stride_w = int(self.rng.integers(1, 3)) if self.rng.random() < 0.2 else stride_h
        return Window(kernel_h, kernel_w, stride_h, stride_w, top, bottom, left, right)

    def pool_window(self) -> Window:
        h, w = (
            min(int(self.rng.integers(1, 4)), side) for side in (self.x.shape.h, self.x.shape.w)
        )
        stride = int(self.rng.integers(1, 4))
        return Window(h, w, stride, stride)

    def conv(self) -> None:
        kernel = int(self.rng.choice([2, 3, 3, 3, 5]))
        self.layer(QConv2d, self.channels(), self.window(kernel))

    def pointwise(self) -> None:
        stride = int(self.rng.integers(1, 3))
        self.layer(QConv2d, self.channels(), Window(1, 1, stride, stride))

    def depthwise(self) -> None:
        window = self.window(int(self.rng.choice([3, 3, 5])))
        self.layer(QDepthwiseConv2d, self.x.shape.c, window)

    def fully_connected(self) -> None:
        self.layer(QFullyConnected, self.channels())

    def residual(self) -> None:
        """x + conv(x)."""
        a = self.x
        b = self.layer(QConv2d, a.shape.c, self.window(int(self.rng.choice([1, 3])), same=True))
        name = self.fresh("add")
        y = self.tensor(name, a.shape)
        # A step that spreads the sum over the output's range, give or take.
        span = a.scale * a.qmax + b.scale * b.qmax
        y = self.tensors[name] = replace(y, scale=span / y.qmax * self.rng.uniform(0.3, 1.2))
        multiplier_a, multiplier_b, offset, shift = requantize_add(name, a, b, y)
        sources = (a.name, b.name)
        self.emit(QAdd(name, sources, name, multiplier_a, multiplier_b, offset, shift, y.bits))

    def average_pool(self) -> None:
        self._average(self.pool_window())

    def global_pool(self) -> None:
        self._average(Window(self.x.shape.h, self.x.shape.w))

    def _average(self, window: Window) -> None:
        x, name = self.x, self.fresh("average")
        y = self.tensor(name, Shape(*window.output(x.shape.h, x.shape.w), x.shape.c))
        scale = x.scale * x.qmax / y.qmax * self.rng.uniform(0.3, 1.5)
        y = self.tensors[name] = replace(y, scale=scale)
        constants = requantize_average(name, window.kernel_h * window.kernel_w, x, y)
        self.emit(QAveragePool(name, (x.name,), name, window, constants))

    def max_pool(self) -> None:
        x, name, window = self.x, self.fresh("maximum"), self.pool_window()
        shape = Shape(*window.output(x.shape.h, x.shape.w), x.shape.c)
        self.tensors[name] = replace(x, name=name, shape=shape)
        self.emit(QMaxPool(name, (x.name,), name, window))

    def flatten(self) -> None:
        x, name = self.x, self.fresh("flatten")
        self.tensors[name] = replace(x, name=name, shape=Shape(1, 1, x.shape.size))
        self.emit(QFlatten(name, (x.name,), name))

    def fire(self) -> None:
        """Two convolutions of x side by side, joined: they must share scale, zero and width."""
        x = self.x
        a = self.layer(QConv2d, self.channels(), Window(1, 1))
        self.x = x
        b = self.layer(QConv2d, self.channels(), Window.square(3, 1, 1), out_like=a)
        name = self.fresh("concat")
        shape = replace(a.shape, c=a.shape.c + b.shape.c)
        self.tensors[name] = replace(a, name=name, shape=shape)
        self.emit(QConcat(name, (a.name, b.name), name))

    def layer(
        self,
        kind: type[QWeighted],
        out_channels: int,
        window: Window | None = None,
        w_bits: int | None = None,
        out_bits: int | None = None,
        out_zero_point: int | None = None,
        weights: str | None = None,
        out_like: QTensor | None = None,
    ) -> QTensor:
        """Adds a layer with weights whose outputs mostly lie inside their range."""
        x, rng = self.x, self.rng
        w_bits = self.draw_w_bits() if w_bits is None else w_bits
        if weights is None:
            weights = "random" if rng.random() < 0.75 else str(rng.choice(WEIGHT_KINDS))
        depth = 1 if kind is QDepthwiseConv2d else x.shape.c
        kernel = (window.kernel_h, window.kernel_w) if window else ()
        weight = _draw_weights(rng, weights, w_bits, (out_channels, *kernel, depth))
        size = window.output(x.shape.h, x.shape.w) if window else (1, 1)
        name, shape = (
            self.fresh(kind.__name__.removeprefix("Q").lower()),
            Shape(*size, out_channels),
        )
        if out_like is None:
            y = self.tensor(name, shape, out_bits, out_zero_point)
        else:
            y = self.tensors[name] = replace(out_like, name=name, shape=shape)
        weight_scale, bias = _spread(rng, weight, x, y)
        constants = requantize_weighted(name, weight, weight_scale, bias, x, y)
        fields = (name, (x.name,), name, weight, w_bits, weight_scale, bias, constants)
        return self.emit(kind(*fields, window) if window else kind(*fields))


def _draw_weights(rng, kind: str, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if kind == "lowest":
        weight = np.full(shape, low)
    elif kind == "highest":
        weight = np.full(shape, high)
    elif kind == "ends":
        weight = rng.choice([low, high], shape)
    elif kind == "sparse":
        weight = rng.integers(low, high + 1, shape) * (rng.random(shape) < 0.2)
    else:
        weight = rng.integers(low, high + 1, shape)
    return weight.astype(np.int8)


def _spread(rng, weight: np.ndarray, x: QTensor, y: QTensor) -> tuple[np.ndarray, np.ndarray]:
    """Weight scales and biases that spread uniform inputs over the output's range, more or less."""
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    deviation = x.qmax / 12**0.5 * np.sqrt((flat**2).sum(1)) + 1e-3
    ratio = y.qmax / (4 * deviation) * 2.0 ** rng.uniform(-1.5, 1.5, len(weight))
    mean = flat.sum(1) * (x.qmax / 2 - x.zero_point)
    centre = y.qmax * rng.uniform(0.1, 0.9, len(weight))
    bias = (centre - ratio * mean - y.zero_point) * y.scale
    return ratio * y.scale / x.scale, bias
