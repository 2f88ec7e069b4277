"""Whole quantized networks with random weights, made without torch: shapes as in the model zoo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcuq_lab.graph import Shape, Window
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConv2d,
    QDepthwiseConv2d,
    QFlatten,
    QFullyConnected,
    QTensor,
    QuantGraph,
)
from mcuq_lab.quantize.requantize import (
    requantize_add,
    requantize_average,
    requantize_weighted,
)


class _Network:
    """Operators in a row; every method takes and gives names of tensors."""

    def __init__(self, bits: int | None, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.bits = bits
        self.tensors: dict[str, QTensor] = {}
        self.ops: list = []

    def draw(self) -> int:
        return self.bits or int(self.rng.integers(2, 9))

    def tensor(self, name: str, shape: Shape, span: float, bits: int | None = None) -> QTensor:
        bits = bits or self.draw()
        self.tensors[name] = QTensor(name, shape, bits, span / ((1 << bits) - 1), 0)
        return self.tensors[name]

    def layer(
        self,
        kind,
        name: str,
        source: str,
        oc: int,
        window: Window | None = None,
        w_bits: int | None = None,
        out_bits: int | None = None,
    ) -> str:
        x, w_bits = self.tensors[source], w_bits or self.draw()
        depth = 1 if kind is QDepthwiseConv2d else x.shape.c
        kernel = (window.kernel_h, window.kernel_w) if window else ()
        half = 1 << (w_bits - 1)
        weight = self.rng.integers(-half, half, (oc, *kernel, depth)).astype(np.int8)
        size = window.output(x.shape.h, x.shape.w) if window else (1, 1)
        y = self.tensor(name, Shape(*size, oc), 2.0 * np.sqrt(weight[0].size / 12.0), out_bits)
        scale = np.full(oc, 1.0 / half)
        mean = 0.5 * scale * weight.reshape(oc, -1).sum(1)
        bias = 0.5 * y.scale * y.qmax - mean
        constants = requantize_weighted(name, weight, scale, bias, x, y)
        fields = (name, (source,), name, weight, w_bits, scale, bias, constants)
        self.ops.append(kind(*fields, window) if window else kind(*fields))
        return name

    def add(self, name: str, left: str, right: str, out_bits: int | None = None) -> str:
        a, b = self.tensors[left], self.tensors[right]
        y = self.tensor(name, a.shape, a.scale * a.qmax + b.scale * b.qmax, out_bits)
        self.ops.append(QAdd(name, (left, right), name, *requantize_add(name, a, b, y), y.bits))
        return name

    def head(self, source: str, classes: int = 10) -> QuantGraph:
        x = self.tensors[source]
        y = self.tensor("pool", Shape(1, 1, x.shape.c), x.scale * x.qmax)
        window = Window(x.shape.h, x.shape.w)
        constants = requantize_average("pool", x.shape.h * x.shape.w, x, y)
        self.ops.append(QAveragePool("pool", (source,), "pool", window, constants))
        self.tensors["flat"] = QTensor("flat", y.shape, y.bits, y.scale, y.zero_point)
        self.ops.append(QFlatten("flat", ("pool",), "flat"))
        self.layer(QFullyConnected, "fc", "flat", classes)
        return self.finish("fc")

    def finish(self, output: str) -> QuantGraph:
        layers = [op for op in self.ops if hasattr(op, "w_bits")]
        policy = Policy.of((op.w_bits, self.tensors[op.inputs[0]].bits) for op in layers)
        return QuantGraph("net", policy, self.tensors, tuple(self.ops), "input", output)


def chain(
    kind,
    pairs: list[tuple[int, int]],
    seed: int = 0,
    size: tuple[int, int] = (5, 4),
    stride: int = 1,
    kernel: int = 3,
    channels: int = 5,
    more: Sequence[int] = (1, -2, 3, -1, 2, -3),
) -> QuantGraph:
    """Layers of one kind in a row, with these (w_bits, a_bits); odd shapes, padded windows.

    The first one has `channels`, each has one of `more` more than that before it, in turn.
    """
    net = _Network(8, seed)
    x, window = "input", Window.square(kernel, stride, kernel // 2)
    if kind is QFullyConnected:
        net.tensor(x, Shape(1, 1, 71), 1.0, pairs[0][1])
        channels, window = 70, None
    else:
        net.tensor(x, Shape(*size, channels), 1.0, pairs[0][1])
    for index, (w_bits, _) in enumerate(pairs):
        if kind is not QDepthwiseConv2d:
            channels += more[index % len(more)]
        out_bits = pairs[index + 1][1] if index + 1 < len(pairs) else 8
        x = net.layer(kind, f"layer{index}", x, channels, window, w_bits, out_bits)
    return net.finish(x)


def averaged(
    shape: Shape, window: Window, bits: int, out_bits: int, zero_point: int = 0, seed: int = 0
) -> QuantGraph:
    """A 1x1 convolution, (bits, bits), and averages of its output over a window, of `out_bits`."""
    net = _Network(bits, seed)
    net.tensor("input", shape, 1.0)
    net.layer(QConv2d, "layer", "input", shape.c, Window.square(1))
    x = net.tensors["layer"]
    size = Shape(*window.output(shape.h, shape.w), shape.c)
    scale = x.scale * x.qmax / ((1 << out_bits) - 1)
    y = net.tensors["mean"] = QTensor("mean", size, out_bits, scale, zero_point)
    constants = requantize_average("mean", window.kernel_h * window.kernel_w, x, y)
    net.ops.append(QAveragePool("mean", ("layer",), "mean", window, constants))
    return net.finish("mean")


def sum_of_two(shape: Shape, bits: int, out_bits: int, seed: int = 0) -> QuantGraph:
    """Two 1x1 convolutions of the input, (bits, bits), and their sum, of `out_bits`."""
    net = _Network(bits, seed)
    net.tensor("input", shape, 1.0)
    for name in ("left", "right"):
        net.layer(QConv2d, name, "input", shape.c, Window.square(1))
    return net.finish(net.add("sum", "left", "right", out_bits))


def residual_block(shape: Shape, bits: int | None, stride: int = 1, seed: int = 0) -> QuantGraph:
    """A layer and a residual block behind it; with a stride the channels double, and the shortcut
    is a 1x1 convolution."""
    net = _Network(bits, seed)
    net.tensor("input", shape, 1.0)
    x = net.layer(QConv2d, "first", "input", shape.c, Window.square(1))
    channels = shape.c * (1 if stride == 1 else 2)
    y = net.layer(QConv2d, "conv1", x, channels, Window.square(3, stride, 1))
    y = net.layer(QConv2d, "conv2", y, channels, Window.square(3, 1, 1))
    if stride != 1:
        x = net.layer(QConv2d, "skip", x, channels, Window.square(1, stride))
    return net.finish(net.add("add", y, x))


def resnet8(bits: int | None = 8, seed: int = 0) -> QuantGraph:
    """ResNet-8 at one width everywhere, or at random widths (None); the input has 8 bits."""
    net = _Network(bits, seed)
    net.tensor("input", Shape(32, 32, 3), 1.0, 8)
    x = net.layer(QConv2d, "stem", "input", 16, Window.square(3, 1, 1))
    for stack, (channels, stride) in enumerate(((16, 1), (32, 2), (64, 2)), 1):
        skip = x
        y = net.layer(QConv2d, f"conv{stack}_1", x, channels, Window.square(3, stride, 1))
        y = net.layer(QConv2d, f"conv{stack}_2", y, channels, Window.square(3, 1, 1))
        if stride != 1:
            skip = net.layer(QConv2d, f"skip{stack}", x, channels, Window.square(1, stride))
        x = net.add(f"add{stack}", y, skip)
    return net.head(x)


def mobilenet(bits: int | None = 8, seed: int = 0, blocks: int = 13) -> QuantGraph:
    """MobileNet v1 of quarter width on 32x32 at one width everywhere, or at random widths."""
    net = _Network(bits, seed)
    net.tensor("input", Shape(32, 32, 3), 1.0, 8)
    x = net.layer(QConv2d, "stem", "input", 8, Window.square(3, 1, 1))
    plan = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2))
    for index, (channels, stride) in enumerate((*plan, (256, 1))[:blocks], 1):
        channels_in = net.tensors[x].shape.c
        window = Window.square(3, stride, 1)
        x = net.layer(QDepthwiseConv2d, f"dw{index}", x, channels_in, window)
        x = net.layer(QConv2d, f"pw{index}", x, channels, Window.square(1))
    return net.head(x)
