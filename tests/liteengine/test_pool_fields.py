"""Average pooling field by field: the same integers as the reference's, in little code."""

from __future__ import annotations

import random

import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.conv2d_generic import lower_conv2d_generic
from mcuq_lab.liteengine.kernels.pool_generic import lower_averagepool_fields
from tests.support.exact_layers import check_exact
from tests.support.networks import averaged
from tests.support.simulated_core import has_toolchain

FAMILIES = (lower_averagepool_fields, lower_conv2d_generic)


@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(6))
def test_averages_are_exact(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    rng = random.Random(seed)
    shape = Shape(rng.randint(3, 8), rng.randint(3, 8), rng.choice((1, 3, 5, 8, 11)))
    kernel = (rng.randint(1, shape.h), rng.randint(1, shape.w))
    window = Window(*kernel, rng.randint(1, 2), rng.randint(1, 2))
    bits, out_bits = (2, 3, 4, 6, 8)[seed % 5], rng.randint(2, 8)
    graph = averaged(shape, window, bits, out_bits, rng.randint(0, 2), seed)
    check_exact(graph, FAMILIES, on_core=on_core)


def test_whole_maps_of_every_storage():
    for bits, out_bits in ((2, 8), (4, 2), (8, 4)):
        check_exact(averaged(Shape(6, 5, 7), Window(6, 5), bits, out_bits), FAMILIES, on_core=False)
