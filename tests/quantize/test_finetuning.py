"""The lower level: descent on steps, or on weights and steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mcuq_lab.errors import ConfigError, NumericsError
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, initial_state, predict, to_integers
from mcuq_lab.quantize.fake import FakeQuantized
from mcuq_lab.quantize.finetuning import (
    FinetuneConfig,
    Lessons,
    Trained,
    divergence,
    finetune,
    teach,
)
from mcuq_lab.quantize.normalized import NormalizedFakeQuantized
from mcuq_lab.quantize.state import integer_weights
from tests.quantize.graphs import images, residual_graph

GRAPH = residual_graph()
CONFIG = FinetuneConfig(batches=40, batch_size=32)


@pytest.fixture(scope="module")
def lessons():
    return teach(GRAPH, images(512, seed=3))


@pytest.fixture(scope="module")
def plain():
    """Uncorrected steps, so that there is something to learn."""
    tables = calibrate(GRAPH, images(64))
    return initial_state(GRAPH, Policy.uniform(7, 2, 2), tables, correct=False)


def distance(state) -> float:
    """Divergence of the integer network from the float network on images never trained on."""
    fresh = teach(GRAPH, images(500, seed=9))
    logits = predict(to_integers(GRAPH, state), fresh.images)
    return float(divergence(torch.from_numpy(logits), torch.from_numpy(fresh.logits)))


@pytest.mark.parametrize("trained", Trained)
def test_training_brings_the_integers_closer_to_the_float_network(plain, lessons, trained):
    config = replace(CONFIG, trained=trained, step_lr=0.03, batches=100)
    assert distance(finetune(GRAPH, plain, lessons, config)) < 0.7 * distance(plain)


def test_equal_seeds_give_equal_integers_and_others_do_not(plain, lessons):
    digests = [
        to_integers(GRAPH, finetune(GRAPH, plain, lessons, replace(CONFIG, seed=seed))).digest
        for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_steps_only_keeps_the_weights_but_for_a_gain_of_each_channel(plain, lessons):
    state = finetune(GRAPH, plain, lessons, replace(CONFIG, trained=Trained.STEPS))
    for name, weight in plain.weights.items():
        gain = (state.weights[name] / weight).reshape(len(weight), -1)
        np.testing.assert_allclose(gain, gain[:, :1].repeat(gain.shape[1], 1), 1e-4)
        assert (state.weight_scales[name] != plain.weight_scales[name]).any()
    assert state.maps["input"] == plain.maps["input"]
    assert state.maps["stem"] != plain.maps["stem"]


def test_no_batches_leave_the_network_as_it_is(plain, lessons):
    state = finetune(GRAPH, plain, lessons, replace(CONFIG, batches=0))
    for name in plain.weights:
        np.testing.assert_allclose(state.weights[name], plain.weights[name], 1e-4)
        np.testing.assert_allclose(state.weight_scales[name], plain.weight_scales[name], 1e-4)
        np.testing.assert_allclose(state.biases[name], plain.biases[name], 1e-3, 1e-5)


def test_folding_the_statistics_changes_no_integer_weight_and_no_logit(plain):
    pictures = images(256)
    network = NormalizedFakeQuantized(GRAPH, plain, pictures)
    with torch.no_grad():
        for gamma in network.log_gamma:
            gamma += 0.3
        live = network(torch.from_numpy(pictures)).numpy()
    state = network.state()
    for layer, bits in zip(GRAPH.layers, plain.policy.layers, strict=True):
        before, after = (
            integer_weights(s.weights[layer.name], s.weight_scales[layer.name], bits.w_bits)
            for s in (plain, state)
        )
        np.testing.assert_array_equal(before, after)
    with torch.no_grad():
        folded = FakeQuantized(GRAPH, state)(torch.from_numpy(pictures)).numpy()
    # A value on the border between two steps may fall to either side.
    assert np.abs(folded - live).mean() < 0.02 * live.std()


def test_progress_is_told(plain, lessons):
    seen = []
    finetune(GRAPH, plain, lessons, replace(CONFIG, batches=3), lambda *x: seen.append(x))
    assert [(done, total) for done, total, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert all(loss > 0 for *_, loss in seen)


def test_every_image_is_seen_before_any_comes_again():
    from mcuq_lab.quantize.finetuning import _batches

    order = np.concatenate(list(_batches(10, FinetuneConfig(batches=5, batch_size=4))))
    assert sorted(order[:10]) == list(range(10))
    assert sorted(order[10:]) == list(range(10))


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_divergence_and_bad_settings_are_reported(plain, lessons):
    wild = replace(CONFIG, step_lr=1e6)
    with pytest.raises(NumericsError, match="lower weight_lr or step_lr"):
        finetune(GRAPH, plain, lessons, wild)
    with pytest.raises(ConfigError, match="batch_size"):
        FinetuneConfig(batch_size=0)
    with pytest.raises(ConfigError, match="step_lr"):
        FinetuneConfig(step_lr=-1)
    with pytest.raises(ConfigError, match="images"):
        finetune(GRAPH, plain, Lessons(images(0), np.zeros((0, 4))))


def test_channels_that_rounding_made_constant_aim_at_the_float_network():
    """A deviation of zero is a target that no gradient leaves."""
    pictures = images(64)
    state = initial_state(GRAPH, Policy.uniform(7, 2, 2), calibrate(GRAPH, pictures), correct=False)
    huge = {name: replace(affine, scale=1e3 * affine.scale) for name, affine in state.maps.items()}
    blind = replace(state, maps=huge)
    measured = NormalizedFakeQuantized(GRAPH, blind, pictures)
    aimed = NormalizedFakeQuantized(GRAPH, blind, pictures, aim_at_float=True)
    exact = NormalizedFakeQuantized(GRAPH, state, pictures, aim_at_float=True)
    assert min(gamma.exp().min() for gamma in measured.log_gamma) < 1e-3
    for ours, floats in zip(aimed.log_gamma, exact.log_gamma, strict=True):
        assert ours.exp().min() > 1e-2
        torch.testing.assert_close(ours, floats, rtol=0, atol=0)


def test_hopeless_training_ends_after_a_third_and_is_the_beginning_of_the_whole(plain, lessons):
    def losses(**changes):
        seen = []
        config = replace(CONFIG, batches=10, **changes)
        finetune(GRAPH, plain, lessons, config, lambda done, total, loss: seen.append(loss))
        return seen

    whole = losses()
    assert losses(hopeless_nats=1e-6) == whole[:4]
    assert losses(hopeless_nats=1e6) == whole
    with pytest.raises(ConfigError, match="hopeless_nats > 0"):
        FinetuneConfig(hopeless_nats=0.0)
