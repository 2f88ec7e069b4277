"""Generated C, run on this computer under sanitizers, equals the integer reference bit by bit."""

from __future__ import annotations

import itertools
from importlib import import_module

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import FAMILIES, GENERIC_FAMILIES, generate, plan
from mcuq_lab.liteengine.memory import ArenaPlan
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import (
    QConcat,
    QConv2d,
    QDepthwiseConv2d,
    QFlatten,
    QFullyConnected,
    QTensor,
    QuantGraph,
)
from mcuq_lab.quantize import random_graph, random_inputs, run_reference, single_layer
from mcuq_lab.storage import pack_batch
from tests.support.networks import chain

_KINDS = (QConv2d, QDepthwiseConv2d, QFullyConnected)
_ALL_PAIRS = list(itertools.product(range(2, 9), range(2, 9)))
# Every width of weights, and every width of fields in memory; `nightly` has all pairs.
_SOME_PAIRS = [(2, 8), (3, 4), (4, 2), (5, 8), (6, 3), (7, 2), (8, 5)]


def check(graph: QuantGraph, families=GENERIC_FAMILIES) -> None:
    inputs = random_inputs(graph, 5)
    outputs = run_on_host(generate(graph, families), pack_batch(inputs, graph.input))
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("seed", range(10))
def test_random_network(seed):
    check(random_graph(seed))


@pytest.mark.parametrize("seed", range(10, 14))
def test_random_network_with_all_families(seed):
    check(random_graph(seed, max_channels=24), FAMILIES)


def _tightest(blocks, shareable, overlaps=()) -> ArenaPlan:
    """A wasteful arena in which every output lies over an input, as far as its kernel allows."""
    leads = dict.fromkeys(shareable, 0)
    leads |= {(o.source, o.output): o.lead_bytes for o in overlaps}
    joined = {output: (source, lead) for (source, output), lead in leads.items()}
    offsets = [0] * len(blocks)
    groups: dict[int, list[int]] = {}
    head: dict[int, int] = {}
    for index in sorted(range(len(blocks)), key=lambda i: (blocks[i].first, i)):
        source, lead = joined.get(index, (index, 0))
        head[index] = head.get(source, index)
        offsets[index] = offsets[source] - -(-lead // 8) * 8
        groups.setdefault(head[index], []).append(index)
    end = 0
    for group in groups.values():
        shift = end - min(offsets[index] for index in group)
        for index in group:
            offsets[index] += shift
        end = (max(offsets[i] + blocks[i].size_bytes for i in group) + 15) // 8 * 8
    return ArenaPlan(tuple(offsets), end, 0, "forced")


def _lies_over_an_input(step) -> bool:
    return any(
        at < step.out_offset + step.output.size_bytes and step.out_offset < at + source.size_bytes
        for at, source in zip(step.in_offsets, step.inputs, strict=True)
    )


@pytest.mark.parametrize("seed", [32, 33, 40, 41, 45, 46, 47, 48])
def test_outputs_may_lie_wherever_kernels_say(seed, monkeypatch):
    module = import_module("mcuq_lab.liteengine.plan")  # the package's `plan` is the function
    monkeypatch.setattr(module, "plan_arena", _tightest)
    graph = random_graph(seed, max_channels=12)
    steps = plan(graph, FAMILIES).steps
    assert any(_lies_over_an_input(step) for step in steps)
    check(graph, FAMILIES)


@pytest.mark.nightly
@pytest.mark.parametrize("families", [GENERIC_FAMILIES, FAMILIES], ids=["generic", "all"])
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_random_networks(seed, families):
    check(random_graph(seed, max_channels=(3, 9, 40)[seed % 3]), families)


@pytest.mark.slow
@pytest.mark.parametrize("kind", _KINDS)
def test_every_width_of_weights_and_of_fields(kind):
    check(chain(kind, _SOME_PAIRS))


@pytest.mark.nightly
@pytest.mark.parametrize("kind", _KINDS)
def test_every_pair_of_widths(kind):
    check(chain(kind, _ALL_PAIRS))


@pytest.mark.parametrize(
    ("kind", "shape", "out_channels", "window"),
    [
        (QDepthwiseConv2d, Shape(9, 7, 5), 5, Window(5, 3, 2, 1, 2, 1, 0, 2)),
        (QConv2d, Shape(4, 4, 3), 3, Window(4, 2, 3, 3, 0, 0, 1, 1)),
        (QConv2d, Shape(3, 3, 2), 1, Window(1, 1, 2, 2)),
        (QConv2d, Shape(2, 2, 4), 6, Window(5, 5, 1, 1, 3, 3, 3, 3)),
        (QConv2d, Shape(8, 2, 3), 4, Window(1, 2, 5, 1, 0, 0, 2, 0)),
    ],
)
def test_odd_window(kind, shape, out_channels, window):
    """Kernels that leave rows out, lie in the padding altogether, or are larger than the input."""
    check(
        single_layer(
            kind, shape, out_channels, window, w_bits=5, a_bits=3, out_bits=2, zero_point=3
        )
    )


@pytest.mark.parametrize("weights", ["lowest", "highest"])
def test_accumulators_at_their_limits(weights):
    check(single_layer(QFullyConnected, Shape(1, 1, 1000), 3, weights=weights))


def test_network_that_only_renames():
    """A flattening alone: nothing to compute, yet the output must come out."""
    tensors = {
        "input": QTensor("input", Shape(2, 2, 4), 4, 1.0, 0),
        "flat": QTensor("flat", Shape(1, 1, 16), 4, 1.0, 0),
    }
    flatten = QFlatten("flat", ("input",), "flat")
    check(QuantGraph("renamed", Policy(()), tensors, (flatten,), "input", "flat"))


def test_concatenation_of_many():
    """Eleven operands of an odd number of 2-bit channels: most begin inside a byte."""
    tensors = {
        "input": QTensor("input", Shape(2, 3, 3), 2, 1.0, 0),
        "joined": QTensor("joined", Shape(2, 3, 33), 2, 1.0, 0),
    }
    concat = QConcat("joined", ("input",) * 11, "joined")
    check(QuantGraph("concat", Policy(()), tensors, (concat,), "input", "joined"))
