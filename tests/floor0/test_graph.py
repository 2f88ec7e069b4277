"""The graph: shapes, counts, what it refuses, what it prints."""

import dataclasses

import numpy as np
import pytest

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
    Input,
    MaxPool,
    Shape,
    Window,
)


def conv(name, source, oc, ic, kernel=3, stride=1, pad=1, activation=Activation.RELU):
    rng = np.random.default_rng(len(name) + oc)
    return Conv2d(
        name,
        (source,),
        rng.normal(size=(oc, kernel, kernel, ic)).astype(np.float32),
        np.zeros(oc, np.float32),
        activation,
        Window.square(kernel, stride, pad),
    )


def small_graph(name="small") -> Graph:
    return Graph(
        name,
        (
            Input("x", (), Shape(8, 8, 3)),
            conv("stem", "x", 4, 3),
            conv("left", "stem", 4, 4),
            Add("sum", ("left", "stem"), Activation.RELU),
            MaxPool("pool", ("sum",), Window.square(2, 2)),
            DepthwiseConv2d(
                "dw",
                ("pool",),
                np.ones((4, 3, 3, 1), np.float32),
                np.zeros(4, np.float32),
                Activation.RELU6,
                Window.square(3, 2, 1),
            ),
            Concat("both", ("dw", "dw")),
            AveragePool("mean", ("both",), Window.square(2, 2)),
            GlobalAveragePool("gap", ("mean",)),
            Flatten("flat", ("gap",)),
            FullyConnected("fc", ("flat",), np.ones((5, 8), np.float32), np.zeros(5, np.float32)),
        ),
    )


def test_shapes_follow_the_operators():
    shapes = small_graph().shapes
    assert shapes["stem"] == Shape(8, 8, 4)
    assert shapes["pool"] == Shape(4, 4, 4)
    assert shapes["dw"] == Shape(2, 2, 4)
    assert shapes["both"] == Shape(2, 2, 8)
    assert shapes["mean"] == Shape(1, 1, 8)
    assert shapes["fc"] == Shape(1, 1, 5)


@pytest.mark.parametrize(
    ("window", "size", "expected"),
    [
        (Window.square(3, 1, 1), (7, 5), (7, 5)),
        (Window.square(3, 2, 1), (7, 5), (4, 3)),
        (Window(2, 3, 1, 2, 0, 1, 0, 1), (6, 6), (6, 3)),
    ],
)
def test_window_output(window, size, expected):
    assert window.output(*size) == expected


def test_counts():
    graph = small_graph()
    macs = {node.name: graph.macs(node) for node in graph.nodes}
    assert macs["stem"] == 8 * 8 * 4 * 9 * 3
    assert macs["dw"] == 2 * 2 * 4 * 9
    assert macs["fc"] == 40
    assert macs["sum"] == 0
    assert graph.total_macs == sum(macs.values())
    assert [layer.name for layer in graph.layers] == ["stem", "left", "dw", "fc"]
    assert graph.parameter_count == (4 * 27 + 4) + (4 * 36 + 4) + (36 + 4) + (40 + 5)


def test_print_names_every_node_and_the_totals():
    graph = small_graph()
    text = str(graph)
    assert f"{graph.total_macs:,} MACs" in text
    for node in graph.nodes:
        assert node.name in text
    assert "DepthwiseConv2d+relu6" in text


def test_digest_depends_on_weights_and_structure():
    graph = small_graph()
    assert graph.digest == small_graph().digest
    nodes = list(graph.nodes)
    nodes[-1] = dataclasses.replace(nodes[-1], weight=nodes[-1].weight + 1)
    assert Graph(graph.name, tuple(nodes)).digest != graph.digest
    assert small_graph("other").digest != graph.digest


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((conv("a", "x", 4, 3),), "first node must be its Input"),
        ((Input("x", (), Shape(4, 4, 3)), conv("a", "y", 4, 3)), "reads 'y'"),
        ((Input("x", (), Shape(4, 4, 3)), conv("x", "x", 4, 3)), "two nodes are called 'x'"),
        ((Input("x", (), Shape(4, 4, 3)), conv("a", "x", 4, 5)), "weight has shape"),
        ((Input("x", (), Shape(4, 4, 3)), conv("a", "x", 4, 3, 7, pad=0)), "larger than"),
        (
            (Input("x", (), Shape(4, 4, 3)), conv("a", "x", 4, 3), conv("b", "x", 4, 3)),
            "'a' is read by nobody",
        ),
        (
            (
                Input("x", (), Shape(4, 4, 3)),
                conv("a", "x", 4, 3),
                Add("s", ("a", "x")),
            ),
            "two operands of one shape",
        ),
        (
            (
                Input("x", (), Shape(4, 4, 3)),
                FullyConnected("f", ("x",), np.ones((2, 48), np.float32), np.zeros(2, np.float32)),
            ),
            "put a Flatten",
        ),
    ],
)
def test_refusals_say_what_and_where(nodes, message):
    with pytest.raises(ModelError, match=message):
        Graph("bad", nodes)
