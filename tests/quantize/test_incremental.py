"""Going on from what other networks yielded: the same as beginning anew, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcuq_lab.errors import NumericsError
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QAdd, QAveragePool, QuantGraph, QWeighted
from mcuq_lab.quantize import (
    Correction,
    IncrementalExecutor,
    calibrate,
    evaluate,
    executor,
    float_statistics,
    incremental,
    initial_state,
    predict,
    quantize,
    random_graph,
    run_integers,
    to_integers,
)
from mcuq_lab.quantize.inputs import quantize_input
from mcuq_lab.quantize.remembered import Remembered
from tests.quantize.graphs import GRAPHS, images

LIMITS = st.sampled_from([0, 300, 3_000, 30_000, 10_000_000])
"""From nothing over parts of a network to all there is."""


def policies(rng: np.random.Generator, layers: int, n: int):
    """Neighbours: each changes some widths of one before it."""
    known = [rng.integers(2, 9, (layers, 2))]
    for _ in range(n):
        bits = known[rng.integers(len(known))].copy()
        for _ in range(rng.integers(3)):
            bits[rng.integers(layers), rng.integers(2)] = rng.integers(2, 9)
        known.append(bits)
        yield Policy.of(map(tuple, bits.tolist()))


def neighbour(rng: np.random.Generator, graph: QuantGraph) -> QuantGraph:
    """One operator's constants changed, or none."""
    ops = list(graph.ops)
    i = int(rng.integers(len(ops)))
    if isinstance(ops[i], QWeighted | QAveragePool):
        constants = ops[i].requantize
        offset = constants.offset - np.int32(rng.integers(2))
        ops[i] = replace(ops[i], requantize=replace(constants, offset=offset))
    elif isinstance(ops[i], QAdd):
        ops[i] = replace(ops[i], multiplier_b=int(rng.integers(ops[i].multiplier_b + 1)))
    return replace(graph, ops=tuple(ops))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1 << 32), limit=LIMITS, batch=st.integers(1, 6))
def test_random_networks_one_after_another(seed, limit, batch):
    rng = np.random.default_rng(seed)
    graph = random_graph(seed, max_ops=8)
    shape = graph.input.shape
    pictures = rng.integers(0, 256, (5, shape.h, shape.w, shape.c), np.uint8)
    runs = IncrementalExecutor(pictures, memory_bytes=limit, batch=batch)
    known = [graph]
    for _ in range(5):
        inputs = quantize_input(pictures, graph.input)
        np.testing.assert_array_equal(runs.run_integers(graph), run_integers(graph, inputs))
        assert runs.size_bytes <= limit
        graph = neighbour(rng, known[rng.integers(len(known))])
        known.append(graph)
    other = random_graph(seed + 1)
    if other.input.shape == shape:
        inputs = quantize_input(pictures, other.input)
        np.testing.assert_array_equal(runs.run_integers(other), run_integers(other, inputs))


@pytest.mark.parametrize("name", GRAPHS)
@settings(deadline=None, max_examples=3)
@given(seed=st.integers(0, 1 << 32), scoring=LIMITS, correcting=LIMITS)
def test_random_policies_one_after_another(name, seed, scoring, correcting):
    graph, tables, exact = CALIBRATED[name]
    rng, pictures = np.random.default_rng(seed), images(20, 7)
    low, high = graph.input.low, graph.input.high
    runs = IncrementalExecutor(pictures, low, high, memory_bytes=scoring, batch=8)
    correction = Correction(graph, exact, memory_bytes=correcting)
    for policy in policies(rng, len(graph.layers), 4):
        plain = initial_state(graph, policy, tables)
        state = initial_state(graph, policy, tables, correction=correction)
        for field in ("weights", "biases", "weight_scales"):
            for layer, array in getattr(plain, field).items():
                np.testing.assert_array_equal(getattr(state, field)[layer], array)
        network = to_integers(graph, state)
        assert network.digest == quantize(graph, policy, tables).digest
        logits = predict(network, pictures, low, high)
        np.testing.assert_array_equal(runs.predict(network), logits)
        labels = rng.integers(0, 4, 20)
        assert runs.evaluate(network, labels) == evaluate(network, pictures, labels, low, high)
        assert runs.size_bytes <= scoring
        assert correction.size_bytes <= 2 * correcting


def _calibrated(name: str):
    graph = GRAPHS[name]()
    tables = calibrate(graph, images(16))
    return graph, tables, float_statistics(graph, tables.images)


CALIBRATED = {name: _calibrated(name) for name in GRAPHS}


def counted(monkeypatch) -> list[str]:
    """Names of the operators that are run from now on."""
    ran: list[str] = []

    def prepare(graph, ops, batch):
        ran.extend(op.name for op in ops)
        return executor.prepare(graph, ops, batch)

    monkeypatch.setattr(incremental, "prepare", prepare)
    return ran


def test_only_what_differs_is_run(monkeypatch):
    graph, tables, exact = CALIBRATED["residual"]
    runs = IncrementalExecutor(images(), memory_bytes=1 << 20)
    correction = Correction(graph, exact, memory_bytes=1 << 22)
    bits = np.full((7, 2), 5)

    def run(bits):
        policy = Policy.of(map(tuple, bits.tolist()))
        runs.run_integers(quantize(graph, policy, tables, correction))

    ran = counted(monkeypatch)
    run(bits)
    assert len(ran) == len(graph.nodes) - 1
    ran.clear()
    run(bits)
    assert ran == []
    bits[4, 0] = 3  # of b2, whose sum with the shortcut follows
    run(bits)
    assert ran == ["b2", "b", "pool", "fc"]
    ran.clear()
    bits[6, 0] = 4
    run(bits)
    assert ran == ["fc"]
    ran.clear()
    bits[4, 1] = 4  # of what b1 writes; the shortcut beside it stays known
    run(bits)
    assert ran == ["b1", "b2", "b", "pool", "fc"]
    ran.clear()
    bits[0, 0] = 2
    run(bits)
    assert len(ran) == len(graph.nodes) - 1


def test_an_interrupted_run_leaves_nothing_half_done(monkeypatch):
    graph, tables, _ = CALIBRATED["fire"]
    runs = IncrementalExecutor(images(), -1.0, 1.0, memory_bytes=1 << 20, batch=8)
    first, second = (quantize(graph, Policy.uniform(5, w, w), tables) for w in (8, 4))
    runs.run_integers(first)

    def prepare(graph, ops, batch):
        run, calls = executor.prepare(graph, ops, batch), []

        def interrupted(values, wanted):
            calls.append(None)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return run(values, wanted)

        return interrupted

    with monkeypatch.context() as patch:
        patch.setattr(incremental, "prepare", prepare)
        with pytest.raises(KeyboardInterrupt):
            runs.run_integers(second)
    for network in (second, first):
        expected = predict(network, images(), -1.0, 1.0)
        np.testing.assert_array_equal(runs.predict(network), expected)


def test_networks_are_checked_whatever_is_known():
    graph, tables, _ = CALIBRATED["residual"]
    network = quantize(graph, Policy.uniform(7, 4, 4), tables)
    runs = IncrementalExecutor(images(), memory_bytes=1 << 20)
    runs.run_integers(network)
    last = network.ops[-1]
    wrong = replace(last, requantize=replace(last.requantize, shift=40))
    with pytest.raises(NumericsError, match="shift 40"):
        runs.run_integers(replace(network, ops=(*network.ops[:-1], wrong)))


def test_no_images_give_no_outputs():
    graph, tables, _ = CALIBRATED["residual"]
    network = quantize(graph, Policy.uniform(7, 4, 4), tables)
    runs = IncrementalExecutor(images()[:0], memory_bytes=1 << 20)
    assert runs.run_integers(network).shape == (0, 1, 1, 4)


def test_what_was_used_longest_ago_is_forgotten_first():
    values: Remembered[str] = Remembered(10)
    for key, size in ((b"a", 4), (b"b", 4), (b"c", 2)):
        assert values.make_room({key: size}) == {key}
        values.remember(key, key.decode(), size)
    assert values.make_room({b"a": 4, b"d": 3}) == {b"a", b"d"}
    values.remember(b"d", "d", 3)
    names = {"a": b"a", "b": b"b", "c": b"c", "d": b"d"}
    assert values.known(names) == {"a", "c", "d"}
    assert values.of({"x": b"a"}) == {"x": "a"}
    assert values.size_bytes == 9
    # Of one use, the last ones are kept.
    assert values.make_room({b"e": 8, b"f": 9}) == {b"f"}
    assert values.size_bytes == 0
    assert values.make_room({b"g": 11}) == set()
