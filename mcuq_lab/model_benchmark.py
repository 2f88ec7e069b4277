"""Whole networks on a board, engine beside engine: cycles, bytes and accuracy of each policy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from mcuq_lab.bench import BoardSession
from mcuq_lab.engines import Engine
from mcuq_lab.errors import FitError, NumericsError
from mcuq_lab.liteengine import ENGINE_NAME
from mcuq_lab.measurement import Measurement
from mcuq_lab.models import ZOO, Dataset, Network, find_dataset, find_network, run_float
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import (
    QuantizedNetwork,
    calibrate,
    find_quantized,
    quantize_input,
    stored_mixed,
)
from mcuq_lab.quantize.calibration import CALIBRATION_IMAGES

_log = logging.getLogger(__name__)

MODELS = tuple(ZOO)
MIXED = "mixed"
"""Stands for the policies of a network's stored nets whose widths differ from layer to layer."""

POLICIES = (*(f"w{w}a{a}" for w, a in product((8, 4, 2), repeat=2)), MIXED)
"""All width pairs of CMix-NN and the mixed ones: an engine runs at those that it supports."""

N_IMAGES = 1000
INPUTS = 2
"""Test images that run on the board, and must give the reference's integers."""


@dataclass(frozen=True)
class ModelRow:
    """One network, at one policy, on one engine.

    Attributes:
        data: the data set that its weights were trained on, and that scores it.
        origin: how its integers were made (`quantize.Origin`).
        accuracy: share of the first `n_images` test images that the engine's own integers get
            right; None for untrained weights, or if no image was asked for.
        float_accuracy: of the float network on the same images.
        note: how the engine runs it, see `Sources`.
        weights_note: what is to be known about the weights.
    """

    model: str
    data: str
    policy: str
    origin: str
    engine: str
    engine_label: str
    board: str
    simulated: bool
    macs: int
    cycles: int
    macs_per_cycle: float
    sram_peak_bytes: int
    flash_total_bytes: int
    bit_exact: bool
    accuracy: float | None
    float_accuracy: float | None
    n_images: int
    note: str
    weights_note: str
    schedule: str


def bench_models(
    session: BoardSession,
    models: Sequence[str],
    policies: Sequence[str],
    engines: Sequence[Engine],
    data: str,
    n_images: int = N_IMAGES,
    arena_bytes: int | None = None,
    flash_bytes: int | None = None,
) -> Iterator[ModelRow]:
    """A row for each network, policy and engine that supports it; networks as trained on `data`.

    A policy `MIXED` is replaced by those that are stored for the network, which may be none.
    `n_images` test images score the accuracies; 0 leaves them out. `arena_bytes` and `flash_bytes`
    are budgets that LiteEngine keeps, see `measure_network`; a policy that cannot keep them is left
    out, with a warning. Untrained weights may leave the range of an engine's constants: such a row
    is left out, too.

    Raises:
        ConfigError: a model, policy or data set that does not exist.
        McuqError: what a stage of the line raises.
    """
    dataset = find_dataset(data)
    budgets = {"arena_bytes": arena_bytes, "flash_bytes": flash_bytes}
    for model in models:
        yield from _bench_model(session, model, policies, engines, dataset, n_images, budgets)


def _bench_model(
    session: BoardSession,
    model: str,
    policies: Sequence[str],
    engines: Sequence[Engine],
    dataset: Dataset,
    n_images: int,
    budgets: Mapping[str, int | None],
) -> Iterator[ModelRow]:
    network = find_network(model, dataset.name)
    graph = network.graph
    tables = calibrate(graph, dataset.train_images[:CALIBRATION_IMAGES])
    scorer = _Scorer(network, dataset, n_images)
    for text in _expanded(policies, graph.name, dataset.name):
        policy = Policy.parse(text, len(graph.layers))
        running = [engine for engine in engines if engine.supports(str(policy))]
        if not running:
            continue
        found = find_quantized(graph, dataset.name, policy, tables)
        inputs = scorer.inputs(found, INPUTS)
        for engine in running:
            try:
                measured = measure_network(
                    found.graph,
                    engine,
                    session,
                    inputs,
                    data=dataset.name,
                    **(budgets if engine.name == ENGINE_NAME else {}),
                )
            except (NumericsError, FitError) as error:
                untrained = network.test_accuracy is None
                if not (any(budgets.values()) if isinstance(error, FitError) else untrained):
                    raise
                _log.warning("%s, %s, %s left out: %s", model, engine.name, policy, error)
                continue
            yield _row(measured, engine, found, scorer)


def _expanded(policies: Sequence[str], model: str, data: str) -> Iterator[str]:
    for text in policies:
        if text == MIXED:
            yield from stored_mixed(model, data)
        else:
            yield text


class _Scorer:
    """Accuracies of one network on the same test images, each computed once.

    Engines that compute the same integers share a score.
    """

    def __init__(self, network: Network, dataset: Dataset, n_images: int) -> None:
        scored = n_images if network.test_accuracy is not None else 0
        self.network = network
        self.images = dataset.test_images
        self.labels = dataset.test_labels[:scored]
        self._scores: dict[tuple[str, Callable], float] = {}
        self._float: float | None = None

    @property
    def float_accuracy(self) -> float | None:
        if len(self.labels) and self._float is None:
            answers = run_float(self.network.graph, self.images[: len(self.labels)]).argmax(1)
            self._float = float((answers == self.labels).mean())
        return self._float

    def accuracy(self, found: QuantizedNetwork, engine: Engine) -> float | None:
        if not len(self.labels):
            return None
        key = found.graph.digest, engine.run
        if key not in self._scores:
            inputs = self.inputs(found, len(self.labels))
            self._scores[key] = engine.accuracy(found.graph, inputs, self.labels)
        return self._scores[key]

    def inputs(self, found: QuantizedNetwork, count: int) -> np.ndarray:
        node = self.network.graph.input
        return quantize_input(self.images[:count], found.graph.input, node.low, node.high)


def _row(
    measured: Measurement, engine: Engine, found: QuantizedNetwork, scorer: _Scorer
) -> ModelRow:
    macs = sum(info.macs for info in measured.layers)
    return ModelRow(
        model=measured.model,
        data=measured.data,
        policy=measured.policy,
        origin=str(found.origin),
        engine=engine.name,
        engine_label=engine.label,
        board=measured.bench.board,
        simulated=measured.bench.simulated,
        macs=macs,
        cycles=measured.cycles,
        macs_per_cycle=macs / measured.cycles,
        sram_peak_bytes=measured.sram_peak_bytes,
        flash_total_bytes=measured.sizes.flash_total_bytes,
        bit_exact=measured.bit_exact,
        accuracy=scorer.accuracy(found, engine),
        float_accuracy=scorer.float_accuracy,
        n_images=len(scorer.labels),
        note=measured.note,
        weights_note=scorer.network.note,
        schedule=measured.schedule,
    )
