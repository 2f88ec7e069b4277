"""Convolutions without packing, where much of a window lies in the padding: host and core."""

from __future__ import annotations

import random

import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels import lower_conv2d_generic
from mcuq_lab.liteengine.plan import plan
from mcuq_lab.quantgraph import QConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.simulated_core import has_toolchain

FAMILIES = (lower_conv2d_generic,)
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def padded_layer(seed: int) -> QuantGraph:
    """Maps smaller than their window, up to windows of nothing but padding."""
    rng = random.Random(seed)
    height, kernel = rng.randint(1, 5), rng.choice((2, 3, 5, 7))
    pads = [rng.randint(0, kernel + 1) for _ in range(4)]
    pads[0] = max(pads[0], kernel - height - pads[1])
    width = max(rng.randint(1, 5), kernel - pads[2] - pads[3])
    window = Window(kernel, kernel, rng.randint(1, 3), rng.randint(1, 2), *pads)
    widths = (rng.randint(2, 8), rng.randint(2, 8))
    shape = Shape(height, width, rng.choice((1, 2, 3, 4, 5, 8, 11)))
    return with_odd_values(
        QConv2d, shape, rng.choice((1, 2, 3, 6)), window, widths, rng.randint(2, 8), rng, seed
    )


@pytest.mark.parametrize("seed", range(12))
def test_windows_in_the_padding_on_the_host(seed):
    check_exact(padded_layer(seed), FAMILIES, on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(12, 18))
def test_windows_in_the_padding_on_the_core(seed):
    check_exact(padded_layer(seed), FAMILIES, on_core=True)


@needs_toolchain
@pytest.mark.parametrize("bits", [(8, 8), (4, 4), (3, 5), (2, 2)], ids=str)
@pytest.mark.parametrize(("size", "channels"), [(4, 40), (6, 12), (12, 8)])
def test_predicted_cycles(bits, size, channels):
    """Rows of zeros cost nothing."""
    widths = {"w_bits": bits[0], "a_bits": bits[1]}
    shape, window = Shape(size, size, channels), Window.square(5, 1, 2)
    graph = single_layer(QConv2d, shape, 8, window, **widths)
    cycles = check_exact(graph, FAMILIES, on_core=True)
    assert plan(graph, FAMILIES).predicted_cycles == pytest.approx(cycles, rel=0.2)
