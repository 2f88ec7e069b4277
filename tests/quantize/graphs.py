"""Small float networks, by hand, with untrained weights."""

from __future__ import annotations

import numpy as np

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
    Shape,
    Window,
)

RELU, RELU6, NONE = Activation.RELU, Activation.RELU6, Activation.NONE


class Maker:
    """Draws layers with weights of a size that keeps activations near one."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def _parameters(self, *shape: int):
        depth = np.prod(shape[1:])
        weight = self.rng.normal(0, (2 / depth) ** 0.5, shape).astype(np.float32)
        return weight, self.rng.normal(0, 0.1, shape[0]).astype(np.float32)

    def conv(self, name, source, ic, oc, kernel=3, activation=RELU, stride=1, window=None):
        window = window or Window.square(kernel, stride, kernel // 2)
        shape = (oc, window.kernel_h, window.kernel_w, ic)
        return Conv2d(name, (source,), *self._parameters(*shape), activation, window)

    def depthwise(self, name, source, c, activation=RELU6, stride=1):
        window = Window.square(3, stride, 1)
        parameters = self._parameters(c, 3, 3, 1)
        return DepthwiseConv2d(name, (source,), *parameters, activation, window)

    def dense(self, name, source, ic, oc):
        return FullyConnected(name, (source,), *self._parameters(oc, ic))


def residual_graph(seed: int = 0) -> Graph:
    """A ResNet in small: two additions, one with a projection; asymmetric padding once."""
    make = Maker(seed)
    lopsided = Window(3, 3, 2, 2, 0, 1, 0, 1)
    return Graph(
        "residual",
        (
            Input("input", (), Shape(8, 8, 3)),
            make.conv("stem", "input", 3, 6),
            make.conv("a1", "stem", 6, 6),
            make.conv("a2", "a1", 6, 6, activation=NONE),
            Add("a", ("a2", "stem"), RELU),
            make.conv("b1", "a", 6, 10, window=lopsided),
            make.conv("b2", "b1", 10, 10, activation=NONE),
            make.conv("shortcut", "a", 6, 10, 1, NONE, 2),
            Add("b", ("b2", "shortcut"), RELU),
            GlobalAveragePool("pool", ("b",)),
            make.dense("fc", "pool", 10, 4),
        ),
    )


def bottleneck_graph(seed: int = 0) -> Graph:
    """An inverted residual of MobileNet v2: ReLU6, depthwise, linear bottlenecks added."""
    make = Maker(seed)
    return Graph(
        "bottleneck",
        (
            Input("input", (), Shape(8, 8, 3)),
            make.conv("stem", "input", 3, 5, activation=NONE),
            make.conv("expand", "stem", 5, 12, 1, RELU6),
            make.depthwise("depthwise", "expand", 12),
            make.conv("project", "depthwise", 12, 5, 1, NONE),
            Add("sum", ("stem", "project")),
            make.conv("head", "sum", 5, 7, 1, RELU6, 2),
            AveragePool("mean", ("head",), Window(2, 2, 2, 2)),
            Flatten("flat", ("mean",)),
            make.dense("fc", "flat", 28, 4),
        ),
    )


def fire_graph(seed: int = 0) -> Graph:
    """A fire module between maximum pools; the network ends in an averaged map."""
    make = Maker(seed)
    return Graph(
        "fire",
        (
            Input("input", (), Shape(8, 8, 3), -1.0, 1.0),
            make.conv("stem", "input", 3, 6),
            MaxPool("pool1", ("stem",), Window(2, 2, 2, 2)),
            make.conv("squeeze", "pool1", 6, 3, 1),
            make.conv("left", "squeeze", 3, 5, 1),
            make.conv("right", "squeeze", 3, 4),
            Concat("joined", ("left", "right")),
            MaxPool("pool2", ("joined",), Window(2, 2, 2, 2)),
            make.conv("classes", "pool2", 9, 4, 1, NONE),
            GlobalAveragePool("mean", ("classes",)),
        ),
    )


GRAPHS = {"residual": residual_graph, "bottleneck": bottleneck_graph, "fire": fire_graph}


def images(n: int = 32, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 (n, 8, 8, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 4, 4, 3)).repeat(2, 1).repeat(2, 2)
    return (coarse * 0.8 + rng.integers(0, 52, (n, 8, 8, 3))).astype(np.uint8)
