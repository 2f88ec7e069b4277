"""Memory plans of the whole zoo are (nearly) the smallest there are; that no run leaves its plan is
part of `test_whole_networks`."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mcuq_lab.liteengine import plan
from mcuq_lab.models import ZOO, find_dataset, find_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, quantize


@cache
def calibrated(model: str):
    graph = find_network(model, "digits").graph
    return graph, calibrate(graph, find_dataset("digits").train_images[:16])


@pytest.mark.parametrize("policy", ["w8a8", "w4a4", "w2a2", "random"])
@pytest.mark.parametrize("model", sorted(ZOO))
def test_no_plan_is_more_than_two_percent_above_what_is_proven(model, policy):
    graph, tables = calibrated(model)
    layers = len(graph.layers)
    drawn = np.random.default_rng(layers).integers(2, 9, (layers, 2))
    chosen = Policy.of(drawn) if policy == "random" else Policy.parse(policy, layers)
    arena = plan(quantize(graph, chosen, tables)).arena
    assert arena.total_bytes <= 1.02 * arena.lower_bound_bytes
