"""The float executor against loops written down from each operator's definition."""

import numpy as np
import pytest

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
from mcuq_lab.models.float_executor import run_float, run_float_all

RNG = np.random.default_rng(0)
# Odd in every way: sizes, strides, and each side's padding differ.
WINDOW = Window(3, 2, stride_h=2, stride_w=3, pad_top=2, pad_bottom=0, pad_left=1, pad_right=3)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def windows(x: np.ndarray, window: Window) -> np.ndarray:
    """(oh, ow, kh, kw, c): what the kernel sees at each place, zeros outside the map."""
    padded = np.pad(
        x,
        ((window.pad_top, window.pad_bottom), (window.pad_left, window.pad_right), (0, 0)),
    )
    oh, ow = window.output(*x.shape[:2])
    return np.array(
        [
            [
                padded[
                    i * window.stride_h : i * window.stride_h + window.kernel_h,
                    j * window.stride_w : j * window.stride_w + window.kernel_w,
                ]
                for j in range(ow)
            ]
            for i in range(oh)
        ]
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Every operator once; 9x10x3 in."""
    pool = Window(2, 3, 2, 1)
    return Graph(
        "all",
        (
            Input("x", (), Shape(9, 10, 3)),
            Conv2d("conv", ("x",), normal(4, 3, 2, 3), normal(4), Activation.RELU, WINDOW),
            DepthwiseConv2d("dw", ("x",), normal(3, 3, 2, 1), normal(3), window=WINDOW),
            Concat("cat", ("conv", "dw")),
            Add("add", ("cat", "cat"), Activation.RELU6),
            MaxPool("max", ("add",), pool),
            AveragePool("mean", ("cat",), pool),
            Add("sum", ("max", "mean")),
            GlobalAveragePool("global", ("sum",)),
            Flatten("flat", ("sum",)),
            FullyConnected("fc", ("flat",), normal(7, 2 * 3 * 7), normal(7), Activation.RELU),
            Add("out", ("fc", "global")),
        ),
    )


def test_each_operator(graph):
    x = RNG.random((9, 10, 3)).astype(np.float32)
    found = {name: v[0] for name, v in run_float_all(graph, x[None]).items()}
    n = graph.by_name
    seen = windows(x, WINDOW)
    conv = np.einsum("ijhwc,ohwc->ijo", seen, n["conv"].weight) + n["conv"].bias
    depthwise = np.einsum("ijhwc,chw->ijc", seen, n["dw"].weight[..., 0]) + n["dw"].bias
    expected = {"conv": conv.clip(min=0), "dw": depthwise}
    expected["cat"] = np.concatenate([expected["conv"], depthwise], axis=-1)
    expected["add"] = (2 * expected["cat"]).clip(0, 6)
    expected["max"] = windows(expected["add"], n["max"].window).max((2, 3))
    expected["mean"] = windows(expected["cat"], n["mean"].window).mean((2, 3))
    expected["sum"] = expected["max"] + expected["mean"]
    expected["global"] = expected["sum"].mean((0, 1))
    expected["flat"] = expected["sum"].reshape(-1)
    expected["fc"] = (n["fc"].weight @ expected["flat"] + n["fc"].bias).clip(min=0)
    expected["out"] = expected["fc"] + expected["global"]
    assert set(expected) == set(found) - {"x"}
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        assert np.abs(found[name] - value).max() < 1e-5 * max(1, np.abs(value).max()), name


def test_pixels_are_divided_by_255_and_batches_joined(graph):
    pixels = RNG.integers(0, 256, (601, 9, 10, 3), dtype=np.uint8)
    whole = run_float(graph, pixels)
    assert whole.shape == (601, 7)
    assert np.allclose(whole[600:], run_float(graph, pixels[600:] / np.float32(255)), atol=1e-5)
