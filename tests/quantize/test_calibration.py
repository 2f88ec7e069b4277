"""Step tables and post-training quantization."""

import numpy as np
import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, initial_state, predict, quantize, to_integers
from mcuq_lab.quantize.calibration import WIDTHS, StepTables, fit_weight_scale
from mcuq_lab.quantize.finetuning import teach
from mcuq_lab.quantize.state import QuantState, integer_weights
from tests.quantize.graphs import GRAPHS, bottleneck_graph, fire_graph, images, residual_graph


def squared_error(weight, scale, bits):
    step = np.asarray(scale).reshape(-1, 1)
    return ((integer_weights(weight, scale, bits) * step - weight) ** 2).sum(1)


@pytest.mark.parametrize("bits", WIDTHS)
def test_weight_steps_have_nearly_the_least_error(bits):
    weight = np.random.default_rng(bits).normal(0, 0.3, (4, 200)).astype(np.float32)
    ours = squared_error(weight, fit_weight_scale(weight, bits), bits)
    whole = np.abs(weight).max(1) / (2 ** (bits - 1) - 1)
    fine = np.stack([squared_error(weight, whole * f, bits) for f in np.linspace(0.05, 1.2, 500)])
    assert (ours <= 1.05 * fine.min(0)).all()


def test_a_channel_of_zeros_gets_a_usable_step():
    weight = np.zeros((2, 9), np.float32)
    weight[1] = 1
    assert (fit_weight_scale(weight, 4) > 0).all()


def test_rectified_groups_have_zero_point_zero_and_others_cover_both_signs():
    tables = calibrate(bottleneck_graph(), images(64))
    assert all(m.zero_point == 0 for m in tables.maps["expand"])
    assert all(m.scale * m.qmax <= 6 for m in tables.maps["expand"])
    assert all(0 < m.zero_point < m.qmax for m in tables.maps["sum"])


def test_an_input_range_below_zero_is_covered():
    maps = calibrate(fire_graph(), images()).maps["input"]
    for affine in maps:
        low, high = (affine.scale * (u - affine.zero_point) for u in (0, affine.qmax))
        assert low == pytest.approx(-1, abs=affine.scale / 2 + 1e-9)
        assert high == pytest.approx(1, abs=affine.scale / 2 + 1e-9)


@pytest.mark.parametrize("name", GRAPHS)
def test_more_bits_come_closer_to_the_float_network(name):
    graph, pictures = GRAPHS[name](), images(200, seed=5)
    tables, exact = calibrate(graph, images(64)), teach(graph, pictures).logits
    errors = []
    for bits in (2, 3, 4, 6, 8):
        integers = quantize(graph, Policy.uniform(len(graph.layers), bits, bits), tables)
        logits = predict(integers, pictures, graph.input.low, graph.input.high)
        errors.append(np.square(logits - exact).mean() / exact.var())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


def test_corrected_statistics_come_closer_and_keep_the_integers():
    graph, pictures = residual_graph(), images(200, seed=5)
    tables, exact = calibrate(graph, images(128)), teach(graph, pictures).logits
    policy = Policy.uniform(7, 3, 3)
    plain, corrected = (initial_state(graph, policy, tables, correct=c) for c in (False, True))
    graphs = [to_integers(graph, state) for state in (plain, corrected)]
    errors = [np.square(predict(g, pictures) - exact).mean() for g in graphs]
    assert errors[1] < 0.8 * errors[0]
    for before, after in zip(graphs[0].layers, graphs[1].layers, strict=True):
        np.testing.assert_array_equal(before.weight, after.weight)


def test_tables_and_states_survive_a_file(tmp_path):
    graph = residual_graph()
    tables = calibrate(graph, images())
    tables.save(tmp_path / "tables.npz")
    policy = Policy.of([(2, 3), (4, 5), (6, 7), (8, 2), (3, 4), (5, 6), (7, 8)])
    expected = quantize(graph, policy, tables).digest
    assert quantize(graph, policy, StepTables.load(tmp_path / "tables.npz")).digest == expected
    initial_state(graph, policy, tables).save(tmp_path / "state.npz")
    state = QuantState.load(tmp_path / "state.npz")
    assert to_integers(graph, state).digest == expected


def test_damaged_files_and_foreign_tables_are_refused(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    with pytest.raises(ConfigError, match="calibrate again"):
        StepTables.load(tmp_path / "bad.npz")
    with pytest.raises(ConfigError, match="fine-tune again"):
        QuantState.load(tmp_path / "missing.npz")
    tables = calibrate(residual_graph(seed=1), images())
    with pytest.raises(ConfigError, match="another network"):
        quantize(residual_graph(seed=2), Policy.uniform(7, 4, 4), tables)
    with pytest.raises(ConfigError, match="images"):
        calibrate(residual_graph(), images(0))
