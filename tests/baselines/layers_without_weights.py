"""Networks of one addition or pool, by the rows of the tables of libraries' cycles."""

from collections.abc import Mapping
from dataclasses import replace

from mcuq_lab.graph import Shape, Window
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QAdd, QAveragePool, QMaxPool, QTensor, QuantGraph
from mcuq_lab.quantize.requantize import requantize_add, requantize_average


def layer_without_weights(fact: Mapping[str, str], scale_of_sum: float = 2.0) -> QuantGraph:
    """x + x, or a pool of x.

    Args:
        fact: a row with kind, size, channels, kernel and stride.
        scale_of_sum: of an addition's output, in scales of x. At 2 all sums are integers.
    """
    size, channels, kernel, stride = (
        int(fact[name]) for name in ("size", "channels", "kernel", "stride")
    )
    window = Window(kernel, kernel, stride, stride)
    x = QTensor("x", Shape(size, size, channels), 8, 1 / 255, 0)
    y = replace(x, name="y", shape=Shape(*window.output(size, size), channels))
    if fact["kind"] == "add":
        y = replace(y, scale=scale_of_sum / 255)
        op = QAdd("y", ("x", "x"), "y", *requantize_add("y", x, x, y), 8)
    elif fact["kind"] == "maximum":
        op = QMaxPool("y", ("x",), "y", window)
    else:
        op = QAveragePool("y", ("x",), "y", window, requantize_average("y", kernel**2, x, y))
    return QuantGraph(fact["kind"], Policy(()), {"x": x, "y": y}, (op,), "x", "y")
