"""Post-training quantization: a network's own weights, steps from tables, statistics corrected."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.policy import MIN_BITS, Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize.calibration import StepTables
from mcuq_lab.quantize.correction import (
    Correction,
    FloatStatistics,
    correct_statistics,
    float_statistics,
)
from mcuq_lab.quantize.export import to_integers
from mcuq_lab.quantize.state import QuantState
from mcuq_lab.quantize.tensors import group_bits


def quantize(
    graph: Graph, policy: Policy, tables: StepTables, correction: Correction | None = None
) -> QuantGraph:
    """The integer network of `graph` under `policy`, without any training.

    A `correction` that knows other policies' values takes less time than one made anew.

    Raises:
        ConfigError: the policy or the tables are those of another network.
        ModelError: the network has no integer form.
        NumericsError: a layer leaves the range of the integer arithmetic.
    """
    return to_integers(graph, initial_state(graph, policy, tables, correction=correction))


def initial_state(
    graph: Graph,
    policy: Policy,
    tables: StepTables,
    *,
    correct: bool = True,
    correction: Correction | None = None,
) -> QuantState:
    """The graph's own weights with the policy's steps: where fine-tuning begins.

    With `correct`, channel statistics are restored on the tables' images (`correct_statistics`),
    by `correction` if one is given: one of this graph on these images.

    Raises:
        ConfigError: the policy or the tables are those of another network.
    """
    if tables.graph_digest != graph.digest:
        raise ConfigError(
            f"The step tables were made for another network than this '{graph.name}'; "
            "run calibrate on it."
        )
    bits = group_bits(graph, policy)
    state = QuantState(
        graph.digest,
        policy,
        {layer.name: np.asarray(layer.weight, np.float32) for layer in graph.layers},
        {layer.name: np.asarray(layer.bias, np.float32) for layer in graph.layers},
        {
            layer.name: tables.weight_scales[layer.name][chosen.w_bits - MIN_BITS]
            for layer, chosen in zip(graph.layers, policy.layers, strict=True)
        },
        {name: tables.maps[name][width - MIN_BITS] for name, width in bits.items()},
    )
    if not correct:
        return state
    if correction is None:
        return correct_statistics(graph, state, _statistics(graph, tables))
    return correction.correct(state)


_known: WeakKeyDictionary[StepTables, FloatStatistics] = WeakKeyDictionary()


def _statistics(graph: Graph, tables: StepTables) -> FloatStatistics:
    """Those of the float network on the tables' images, worked out once for as long as these live:
    a search quantizes hundreds of policies with one object of them."""
    if tables not in _known:
        _known[tables] = float_statistics(graph, tables.images)
    return _known[tables]
