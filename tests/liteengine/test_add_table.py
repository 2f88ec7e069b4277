"""Sums out of a table: all pairs of operands, widths of the output, and shapes that it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.graph import Shape
from mcuq_lab.liteengine.kernels.add_table import lower_add_table
from mcuq_lab.liteengine.kernels.conv2d_generic import lower_conv2d_generic
from mcuq_lab.quantize import random_inputs, run_reference
from tests.support.exact_layers import check_exact
from tests.support.networks import sum_of_two
from tests.support.simulated_core import has_toolchain

FAMILIES = (lower_add_table, lower_conv2d_generic)
SHAPES = (Shape(5, 4, 4), Shape(3, 7, 16), Shape(1, 2, 24))


@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("out_bits", [2, 3, 4])
def test_sums_are_exact(out_bits, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    for seed, shape in enumerate(SHAPES):
        check_exact(sum_of_two(shape, 2, out_bits, seed), FAMILIES, on_core=on_core)


def test_these_networks_have_all_pairs_of_operands():
    pairs = set()
    for seed, shape in enumerate(SHAPES):
        graph = sum_of_two(shape, 2, 2, seed)
        inputs = random_inputs(graph, 4)
        operands = [
            run_reference(replace(graph, output_name=name), inputs).ravel()
            for name in ("left", "right")
        ]
        pairs |= set(zip(*(np.asarray(x).tolist() for x in operands), strict=True))
    assert pairs == {(a, b) for a in range(4) for b in range(4)}


@pytest.mark.parametrize(
    ("shape", "bits", "out_bits"),
    [
        (Shape(4, 4, 4), 2, 5),
        (Shape(4, 4, 4), 3, 2),
        (Shape(4, 2, 4), 2, 2),
        (Shape(4, 8, 6), 2, 2),
    ],
)
def test_other_sums_are_left_to_others(shape, bits, out_bits):
    graph = sum_of_two(shape, bits, out_bits)
    assert not lower_add_table(graph.ops[-1], graph.tensors)
