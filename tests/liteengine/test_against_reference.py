"""Generated C, run on this computer under sanitizers, equals the integer reference bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.liteengine import GENERIC_FAMILIES, generate
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import random_graph, random_inputs, run_reference
from mcuq_lab.storage import pack_batch


def check(graph: QuantGraph, **options) -> None:
    inputs = random_inputs(graph, 5)
    outputs = run_on_host(generate(graph, **options), pack_batch(inputs, graph.input))
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    np.testing.assert_array_equal(outputs, expected)


@pytest.mark.parametrize("seed", range(12))
def test_random_network(seed):
    check(random_graph(seed), families=GENERIC_FAMILIES)
