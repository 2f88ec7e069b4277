"""Odd layers, and generated networks against the integer reference, on this computer or on the
simulated core."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import generate
from mcuq_lab.liteengine.schedule import Family
from mcuq_lab.quantgraph import QuantGraph, QWeighted
from mcuq_lab.quantize import random_inputs, run_reference, single_layer
from mcuq_lab.quantize.random_graphs import WEIGHT_KINDS
from mcuq_lab.storage import pack_batch
from tests.support.simulated_core import run_on_core


def with_odd_values(
    kind: type[QWeighted],
    shape: Shape,
    out_channels: int,
    window: Window,
    bits: tuple[int, int],
    out_bits: int,
    rng: random.Random,
    seed: int,
) -> QuantGraph:
    """One layer of (w_bits, a_bits) with drawn zero points and a drawn kind of weights."""
    w_bits, a_bits = bits
    return single_layer(
        kind,
        shape,
        out_channels,
        window,
        w_bits=w_bits,
        a_bits=a_bits,
        out_bits=out_bits,
        zero_point=rng.choice((0, rng.randrange(1 << a_bits))),
        out_zero_point=rng.randint(0, 2),
        weights=rng.choice(WEIGHT_KINDS),
        seed=seed,
    )


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
