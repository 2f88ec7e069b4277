"""Subsampled shortcuts: the same integers, any pixels and steps, and fewer bytes that wait."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import generate_sources, plan
from mcuq_lab.liteengine.order import with_few_bytes_alive
from mcuq_lab.liteengine.subsampling import (
    Subsample,
    lower_subsample,
    variants,
    with_subsampled_shortcuts,
)
from mcuq_lab.quantgraph import QConv2d
from mcuq_lab.quantize import random_inputs, run_reference
from mcuq_lab.storage import pack_batch
from mcuq_lab.target import DEFAULT_TARGET, Target
from tests.liteengine.test_order import bytes_alive
from tests.support.networks import mobilenet, residual_block, resnet8
from tests.support.simulated_core import has_toolchain, run_on_core


def check(graph, *, on_core: bool = False) -> None:
    """The subsampled network gives the integers of the network itself."""
    network = with_subsampled_shortcuts(graph)
    assert any(isinstance(op, Subsample) for op in network.ops)
    inputs = random_inputs(graph, 2)
    stored = pack_batch(inputs, graph.input)
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    sources = generate_sources(plan(network))
    np.testing.assert_array_equal(run_on_host(sources, stored), expected)
    if on_core:
        np.testing.assert_array_equal(run_on_core(sources, stored).outputs, expected)


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("bits", [8, 4, 2, None])
@pytest.mark.parametrize("shape", [Shape(7, 9, 5), Shape(8, 6, 16), Shape(2, 5, 3)])
def test_any_pixels_and_steps(shape, bits, stride):
    check(residual_block(shape, bits, stride, seed=shape.size + stride))


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_on_the_core(bits):
    check(residual_block(Shape(9, 8, 6), bits, 2), on_core=True)


@pytest.mark.parametrize("bits", [8, 4, 2, None])
def test_fewer_bytes_wait(bits):
    graph, network = variants(with_few_bytes_alive(resnet8(bits)))
    assert len(network.ops) == len(graph.ops) + 2
    assert bytes_alive(network, network.ops) < bytes_alive(graph, graph.ops)


def test_what_nobody_else_reads_stays_as_it_is():
    graph = mobilenet(4)
    assert with_subsampled_shortcuts(graph) is graph
    assert variants(graph) == (graph,)


def test_padded_or_larger_windows_stay_as_they_are():
    block = residual_block(Shape(8, 8, 4), 4, 2)
    strided = [op for op in block.ops if isinstance(op, QConv2d) and op.window.stride_h > 1]
    network = with_subsampled_shortcuts(block)
    kept = [op for op in network.ops if isinstance(op, QConv2d) and op.window.stride_h > 1]
    assert len(kept) == len(strided) - 1
    assert kept[0].window == Window.square(3, 2, 1)


def test_no_family_but_its_own_knows_it():
    graph = resnet8(4)
    assert lower_subsample(graph.ops[0], graph.tensors, DEFAULT_TARGET) == ()


def test_a_large_arena_needs_no_subsampling():
    planned = plan(resnet8(4), target=Target(arena_bytes=1 << 20))
    assert not any(isinstance(step.op, Subsample) for step in planned.steps)
