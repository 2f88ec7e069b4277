"""Generated networks against the integer reference, on this computer or on the simulated core."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.liteengine import generate
from mcuq_lab.liteengine.schedule import Family
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import random_inputs, run_reference
from mcuq_lab.storage import pack_batch
from tests.support.simulated_core import run_on_core


def check_exact(graph: QuantGraph, families: Sequence[Family], *, on_core: bool) -> int:
    """Compares the outputs; returns the cycles of the last inference, 0 on the host."""
    inputs = random_inputs(graph, 4)
    stored, expected = (
        pack_batch(inputs, graph.input),
        pack_batch(run_reference(graph, inputs), graph.output),
    )
    sources = generate(graph, families)
    if not on_core:
        np.testing.assert_array_equal(run_on_host(sources, stored), expected)
        return 0
    run = run_on_core(sources, stored)
    np.testing.assert_array_equal(run.outputs, expected)
    return run.cycles[-1]
