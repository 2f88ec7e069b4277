"""Any way to compute any operator: host under sanitizers = simulated core = integer reference.

The schedule takes the cheapest ways; here each operator of a random network takes one at random, so
that what only a budget, a shared kernel or a measurement would choose is tested as well.
"""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.liteengine import generate
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.quantize import random_graph, random_inputs, run_reference
from mcuq_lab.storage import pack_batch
from tests.support.simulated_core import has_toolchain, run_on_core

pytestmark = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def check(seed: int, max_channels: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(seed, max_channels=max_channels)
    ways = {
        op.name: tuple(rng.permutation(np.array(candidates(op, graph.tensors), object)))[:1]
        for op in graph.ops
    }
    inputs = random_inputs(graph, 2)
    stored = pack_batch(inputs, graph.input)
    sources = generate(graph, (lambda op, tensors, target: ways[op.name],))
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    np.testing.assert_array_equal(run_on_host(sources, stored), expected)
    np.testing.assert_array_equal(run_on_core(sources, stored).outputs, expected)


@pytest.mark.parametrize("seed", range(300, 303))
def test_random_ways(seed):
    check(seed, max_channels=20)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(400, 950))
def test_many_random_ways(seed):
    check(seed, max_channels=(5, 18, 40)[seed % 3])
