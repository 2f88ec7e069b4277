"""The space's symmetries, and costs learnt from rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import residual_net

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.quantize import group_bits
from mcuq_lab.rlquant.costs import fit_costs, initial_costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.proposers import narrow_tensors, redraw_weights
from mcuq_lab.rlquant.space import FEATURES, SearchSpace, to_bits, to_policy
from mcuq_lab.sources import joined_name

GRAPH = residual_net()
SPACE = SearchSpace(GRAPH)
LIFETIMES = live_tensors(SPACE)

policies = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).integers(2, 9, (SPACE.n_layers, 2))
)


@settings(max_examples=50, deadline=None)
@given(policies)
def test_canonical_policies_make_the_same_integer_network(bits):
    canonical = SPACE.canonical(bits)
    assert group_bits(GRAPH, to_policy(bits)) == group_bits(GRAPH, to_policy(canonical))
    assert (SPACE.canonical(canonical) == canonical).all()
    assert (canonical[:, 0] == bits[:, 0]).all()


def test_layers_that_read_one_tensor_share_its_width():
    names = [layer.name for layer in GRAPH.layers]
    bits = SPACE.uniform(4, 4)
    bits[names.index("s1b0_shortcut"), 1] = 7
    assert SPACE.canonical(bits)[names.index("s1b0_conv1"), 1] == 7


@settings(max_examples=50, deadline=None)
@given(policies, st.integers(0, 2**32 - 1))
def test_weights_are_redrawn_and_activations_stay(bits, seed):
    parents = np.array([bits, bits[::-1]], dtype=np.int8)
    drawn = redraw_weights(parents, 40, np.random.default_rng(seed))
    assert drawn.shape == (40, *bits.shape)
    assert (parents == [bits, bits[::-1]]).all(), "parents stay as they are"
    of = [np.flatnonzero((parents[..., 1] == child[:, 1]).all(axis=1)) for child in drawn]
    assert all(len(found) for found in of)
    assert MIN_BITS <= drawn[..., 0].min() < drawn[..., 0].max() <= MAX_BITS
    assert any((child != parents[found[0]]).any() for child, found in zip(drawn, of, strict=True))


@given(st.integers(0, 2**32 - 1))
def test_one_to_four_tensors_are_wider_than_the_narrowest(seed):
    drawn = narrow_tensors(SPACE, 60, np.random.default_rng(seed))
    assert (SPACE.canonical(drawn) == drawn).all(), "readers of a tensor agree on its width"
    groups = SPACE.input_groups
    first_reader = [np.flatnonzero(groups == group)[0] for group in range(groups.max() + 1)]
    n_wider = (drawn[:, first_reader, 1] > MIN_BITS).sum(axis=1)
    assert set(n_wider) == {1, 2, 3, 4}
    assert set(drawn[..., 0].ravel()) == set(range(MIN_BITS, MAX_BITS + 1))


def test_features_are_finite_and_scaled():
    assert SPACE.features.shape == (SPACE.n_layers, len(FEATURES))
    assert np.isfinite(SPACE.features).all()
    assert np.abs(SPACE.features).max() <= 1.0


def test_policies_and_bits_are_two_forms_of_one_thing():
    bits = SPACE.random(np.random.default_rng(0), 5)
    assert (to_bits(map(to_policy, bits)) == bits).all()


@settings(max_examples=50, deadline=None)
@given(policies)
def test_peak_memory_is_the_largest_sum_of_live_tensors(bits):
    widths = group_bits(GRAPH, to_policy(bits))
    storage = {b: (2 if b == 2 else 4 if b <= 4 else 8) for b in range(2, 9)}
    peak = 0
    for i, _ in enumerate(GRAPH.nodes):
        total = 0
        for j, node in enumerate(GRAPH.nodes):
            readers = [GRAPH.nodes.index(c) for c in GRAPH.consumers(node.name)]
            if j <= i <= max(readers, default=len(GRAPH.nodes)):
                shape = GRAPH.shapes[node.name]
                field = storage[widths[node.name]]
                total += shape.h * shape.w * -(-shape.c * field // 8)
        peak = max(peak, total)
    assert LIFETIMES.peak_bytes(np.array(bits)) == peak


@settings(max_examples=50, deadline=None)
@given(policies, st.integers(0, SPACE.n_layers - 1), st.integers(0, 1))
def test_estimates_never_fall_when_a_width_grows(bits, layer, side):
    costs = initial_costs(SPACE)
    wider = np.array(bits)
    wider[layer, side] = min(wider[layer, side] + 1, MAX_BITS)
    for cost in (costs.sram_bytes, costs.flash_bytes, costs.cycles):
        assert cost(wider) >= cost(np.array(bits))


def rows_of(evaluator, n, seed=0):
    drawn = SPACE.random(np.random.default_rng(seed), n)
    return [evaluator.evaluate(to_policy(bits)) for bits in drawn]


def test_costs_of_measured_layers_are_exact(evaluator):
    rows = rows_of(evaluator, 12)
    costs = fit_costs(SPACE, rows, LIFETIMES)
    bits = np.array([row.policy for row in rows])
    cycles = np.array([row.cycles_median for row in rows])
    # The synthetic layers are rounded down one by one, their sum is not.
    assert costs.cycles(bits) == pytest.approx(cycles, abs=SPACE.n_layers)
    w, a = bits[0, 3] - MIN_BITS
    assert costs.seen[3, w, a]
    assert costs.layer_cycles[3, w, a] == rows[0].layer_cycles[3]


def test_costs_of_unseen_layers_are_predicted(evaluator):
    costs = fit_costs(SPACE, rows_of(evaluator, 20), LIFETIMES)
    fresh = rows_of(evaluator, 40, seed=1)
    bits = np.array([row.policy for row in fresh])
    cycles = np.array([row.cycles_median for row in fresh])
    sram = np.array([row.sram_peak_bytes for row in fresh])
    flash = np.array([row.flash_total_bytes for row in fresh])
    assert np.abs(costs.cycles(bits) / cycles - 1).mean() < 0.02
    assert np.abs(costs.sram_bytes(bits) / sram - 1).mean() < 0.02
    assert np.abs(costs.flash_bytes(bits) / flash - 1).max() < 1e-3


def in_strips(row, first_rows):
    """The same row with its first nodes in strips; the synthetic profile has layers only, so sums
    become lines of their own at 3,000 cycles each."""
    names = [node.name for node in GRAPH.nodes[1:]]
    cycles = dict(zip(row.layer_names, row.layer_cycles, strict=True))
    cycles = {name: cycles.get(name, 3_000) for name in names}
    if not first_rows:
        return replace(row, layer_names=tuple(names), layer_cycles=tuple(cycles.values()))
    whole = names[first_rows:]
    return replace(
        row,
        layer_names=(joined_name(names[0], names[first_rows - 1]), *whole),
        layer_cycles=(
            sum(cycles[name] for name in names[:first_rows]),
            *(cycles[name] for name in whole),
        ),
    )


@pytest.mark.parametrize("heights", [(4,), (4, 8), (0, 4, 8)])
def test_costs_of_layers_in_strips_are_learnt_from_their_sums(evaluator, heights):
    """Only sums of the first layers are known, of some rows of some more of them."""
    rng = np.random.default_rng(2)
    rows = [in_strips(row, rng.choice(heights)) for row in rows_of(evaluator, 40)]
    costs = fit_costs(SPACE, rows, LIFETIMES)
    known, fresh = rows, rows_of(evaluator, 40, seed=1)
    for some, tolerance in ((known, 0.001), (fresh, 0.01)):
        bits = np.array([row.policy for row in some])
        cycles = np.array([row.cycles_median for row in some])
        errors = np.abs(costs.cycles(bits) / cycles - 1)
        assert errors.mean() < tolerance, errors.mean()
    layers = [layer.name for layer in GRAPH.layers]
    for row in known:
        for name, cycles in zip(row.layer_names, row.layer_cycles, strict=True):
            if name in layers[-2:]:  # never in strips
                w, a = np.array(row.policy[layers.index(name)]) - MIN_BITS
                assert costs.layer_cycles[layers.index(name), w, a] == pytest.approx(cycles)


def test_failed_rows_teach_no_costs(evaluator):
    rows = rows_of(evaluator, 5)
    failed = [replace(row, status="fault", layer_cycles=(1,) * 10) for row in rows_of(evaluator, 3)]
    assert (
        fit_costs(SPACE, rows + failed, LIFETIMES).layer_cycles
        == fit_costs(SPACE, rows, LIFETIMES).layer_cycles
    ).all()
