"""The end of a real episode: SGD below the policy, accuracy, then code on the board.

policy -> steps -> SGD -> integers -> accuracy -> C -> image -> board -> row
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch

from mcuq_lab import liteengine
from mcuq_lab.bench import BoardSession, memory_map, open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import BoardError, FitError, NumericsError
from mcuq_lab.flash_fit import built_within, engine_share, least_flash_bytes
from mcuq_lab.graph import Graph
from mcuq_lab.models import Dataset, find_dataset, find_network
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import MAX_BITS, MIN_BITS, Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import (
    Correction,
    IncrementalExecutor,
    StepTables,
    calibrate,
    float_statistics,
    initial_state,
    quantize,
    quantize_input,
    to_integers,
)
from mcuq_lab.quantize.finetuning import FinetuneConfig, Trained, divergence, finetune, teach
from mcuq_lab.results import Row, measured_columns
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.evaluation import Evaluator
from mcuq_lab.rlquant.planned import Planned
from mcuq_lab.rlquant.space import N_WIDTHS, SearchSpace, to_policy
from mcuq_lab.target import Target
from mcuq_lab.tuning import tuning_table

_SENSITIVITY_IMAGES = 256
"""Images whose answers are compared ..."""
_CORRECTION_IMAGES = 64
"""... and on which statistics are corrected for that: with four times as many, policies of ResNet-8
are ordered the same (Spearman's 0.992 and 0.993 with measured accuracies), in twice the time."""

_SCORING_BYTES = 320 << 20
"""Of values that scoring keeps from policy to policy: half of ResNet-8's or MobileNet's on 5,000
images of CIFAR-10. In a table, where neighbours differ in their last layers, more saves nothing;
among mutations of several parents even four times as much saves a few percent only."""
_CORRECTION_BYTES = 160 << 20
"""The same for corrections: of one such network on 256 images."""
_SENSITIVITY_BYTES = 128 << 20
"""The same while sensitivities are found, which are few images' for policies much alike."""

log = logging.getLogger("mcuq.rlquant")


def make_evaluator(config: SearchConfig) -> BoardEvaluator:
    """The evaluator of a configuration: loads network and data, opens the board.

    Raises:
        ConfigError: no such network, data set, engine or board.
        BoardError: the board does not answer.
    """
    torch.set_num_threads(config.lower_level.threads)
    return BoardEvaluator(config, find_dataset(config.data))


class BoardEvaluator(Evaluator):
    """`Evaluator` with a board in the loop.

    Args:
        config: the search; its lower level says how much SGD an episode gets.
        data: the data set; the test part is not touched.
    """

    def __init__(self, config: SearchConfig, data: Dataset) -> None:
        lower = config.lower_level
        self.graph = find_network(config.model, data.name).graph
        self._data = data.name
        self._config, self._engine = config, engine_named(config.engine)
        self._board = load_board(config.board)
        self._target = Target.of(self._board, config.arena_bytes)
        self.sysclk_hz = self._board.clock(config.clock).sysclk_hz
        memory = memory_map(self._board)
        self.board_sram_bytes = memory.ram.length_bytes
        self.board_flash_bytes = memory.flash.length_bytes
        self._flash_bytes = config.budget_flash_bytes
        self._images = data.validation_images[: lower.validation_images]
        self._labels = data.validation_labels[: lower.validation_images]
        train = data.train_images
        self._tables = calibrate(self.graph, train[: lower.calibration_images])
        # SGD moves all constants: no two networks have values in common.
        kept_bytes = 0 if self._descends else _SCORING_BYTES
        self._executor = _executor(self.graph, self._images, kept_bytes)
        self._lessons = teach(self.graph, train[: lower.training_images])
        answers = teach(self.graph, self._images).logits.argmax(axis=1)
        self.float_accuracy = float((answers == self._labels).mean())
        # Scoring needs no board, and building waits for the compiler: they go on side by side.
        self._scorer = ThreadPoolExecutor(1, "scorer")
        self._open = ExitStack()
        self._session: BoardSession | None = None
        self._connect()

    def evaluate(self, policy: Policy) -> Row:
        """See `Evaluator`; a policy whose training diverges is a row with status `fault`."""
        seconds: dict[str, float] = {}
        known = {
            "evaluation": 0,
            "model": self.graph.name,
            "data": self._data,
            "board": self._config.board,
            "engine": self._engine.name,
            "policy": policy.pairs,
            "origin": "",
        }
        try:
            with _timed(seconds, "finetune"):
                network, note = self._quantize(policy)
            scored = self._scorer.submit(self._score, network, seconds)
            try:
                columns = self._measure(network)
            finally:
                known |= {"accuracy_quick": scored.result(), "n_images": len(self._labels)}
            columns["message"] = " ".join(filter(None, (note, columns.get("message"))))
        except FitError as error:
            return Row(
                **known, status=f"no_fit_{error.memory}", message=str(error), seconds=seconds
            )
        except NumericsError as error:
            return Row(**known, status="fault", message=str(error), seconds=seconds)
        except BoardError as error:
            # A board in an unknown state must not spoil the next episode.
            self._disconnect()
            return Row(**known, status=error.status, message=str(error), seconds=seconds)
        seconds |= columns.pop("seconds")
        return Row(**(columns | known), seconds=seconds)

    def plan(self, policy: Policy) -> Planned:
        """See `Evaluator`: bytes of the engine's arena, and of the stack that only some networks
        need; LiteEngine predicts cycles, too."""
        # Statistics change no integer of the weights, and take longer than all the rest.
        state = initial_state(self.graph, policy, self._tables, correct=False)
        network = to_integers(self.graph, state)
        if self._engine.name != liteengine.ENGINE_NAME:
            return Planned(self._engine.generate(network, self._target).arena_bytes)
        tuned, within = self._tuned(), replace(self._target, flash_bytes=self._flash_bytes)
        try:  # without writing the C
            planned = liteengine.plan(network, measured_cycles=tuned, target=engine_share(within))
        except FitError as error:
            if error.memory != "flash":
                raise
            planned = liteengine.plan(network, measured_cycles=tuned, target=self._target)
        return Planned(planned.memory_bytes, planned.predicted_cycles)

    def image_bytes(self, policy: Policy) -> int | None:
        """See `Evaluator`; known for an image that is too large, too."""
        network = quantize(self.graph, policy, self._tables, self._correction)
        within = replace(self._target, flash_bytes=self._flash_bytes)
        try:
            built = built_within(network, self._engine, self._board, within, self._tuned())
            return built.firmware.sizes.flash_total_bytes
        except FitError as error:
            limit = self._flash_bytes or self.board_flash_bytes
            return limit + error.overflow_bytes if error.memory == "flash" else None

    def least_flash_bytes(self, policy: Policy) -> int | None:
        """See `Evaluator`; without a budget no image is made smaller than it is."""
        if self._flash_bytes is None:
            return None
        network = quantize(self.graph, policy, self._tables, self._correction)
        return least_flash_bytes(network, self._engine, self._target, self._tuned())

    @cache  # noqa: B019 (one evaluator lives as long as its search)
    def sensitivity(self) -> np.ndarray:
        """See `Evaluator`: mean divergence from the float network's answers, in nats."""
        space = SearchSpace(self.graph)
        nats = np.zeros((space.n_layers, 2, N_WIDTHS))
        floor = self.divergence(space.uniform(MAX_BITS, MAX_BITS))
        # From the last layer: each policy then begins like the last ones before it.
        for layer in reversed(range(space.n_layers)):
            for side in range(2):
                for width in range(MIN_BITS, MAX_BITS):
                    bits = space.uniform(MAX_BITS, MAX_BITS)
                    members = space.input_groups == space.input_groups[layer]
                    bits[members if side else layer, side] = width
                    nats[layer, side, width - MIN_BITS] = self.divergence(bits) - floor
        del self._few_images
        return np.maximum(nats, 0.0)

    def divergence(self, bits: np.ndarray) -> float:
        """Mean divergence of the post-training network of policy (L, 2) from the float one."""
        few = self._few_images
        network = quantize(self.graph, to_policy(bits), few.tables, few.correction)
        logits = few.executor.predict(network)
        exact = self._lessons.logits[:_SENSITIVITY_IMAGES]
        return float(divergence(torch.from_numpy(logits), torch.from_numpy(exact)))

    def close(self) -> None:
        self._scorer.shutdown()
        self._disconnect()

    def _score(self, network: QuantGraph, seconds: dict[str, float]) -> float:
        with _timed(seconds, "accuracy"):
            return self._executor.evaluate(network, self._labels)

    def _quantize(self, policy: Policy) -> tuple[QuantGraph, str]:
        """The trained network, and what is to be said of its training."""
        lower, note = self._config.lower_level, ""
        correct = lower.correct_statistics
        correction = self._correction if correct else None
        state = initial_state(
            self.graph, policy, self._tables, correct=correct, correction=correction
        )
        if self._descends:
            descent = FinetuneConfig(
                trained=Trained(lower.mode),
                batches=lower.batches,
                batch_size=lower.batch_size,
                seed=self._config.seed,
                hopeless_nats=lower.hopeless_nats or math.inf,
            )
            losses: list[float] = []
            state = finetune(
                self.graph, state, self._lessons, descent, lambda _, __, loss: losses.append(loss)
            )
            if len(losses) < lower.batches:
                note = (
                    f"SGD ended after {len(losses)} of {lower.batches} batches: with a loss of "
                    f"{losses[-1]:.2f} nats this policy is hopeless."
                )
        return to_integers(self.graph, state), note

    @cached_property
    def _correction(self) -> Correction:
        return _correction(self.graph, self._tables, _CORRECTION_BYTES)

    @cached_property
    def _few_images(self) -> _FewImages:
        tables = replace(self._tables, images=self._tables.images[:_CORRECTION_IMAGES])
        images = self._lessons.images[:_SENSITIVITY_IMAGES]
        return _FewImages(
            tables,
            _correction(self.graph, tables, _SENSITIVITY_BYTES),
            _executor(self.graph, images, _SENSITIVITY_BYTES),
        )

    @property
    def _descends(self) -> bool:
        """Whether SGD is part of an episode."""
        lower = self._config.lower_level
        return lower.mode != "none" and lower.batches > 0

    def _tuned(self) -> Mapping[str, int]:
        self._connect()
        return tuning_table(self._session).read()

    def _measure(self, network: QuantGraph) -> dict:
        """Columns of a network within the budget of flash, or of one that cannot keep it."""
        try:
            return self._measure_within(network, self._flash_bytes)
        except FitError as error:
            if error.memory != "flash" or self._flash_bytes is None:
                raise
        # The reference is measured even if it breaks the budgets.
        return self._measure_within(network, None)

    def _measure_within(self, network: QuantGraph, flash_bytes: int | None) -> dict:
        self._connect()
        node = self.graph.input
        images = self._images[: self._config.board_inputs]
        inputs = quantize_input(images, network.input, node.low, node.high)
        measurement = measure_network(
            network,
            self._engine,
            self._session,
            inputs,
            data=self._data,
            arena_bytes=self._target.arena_bytes,
            flash_bytes=flash_bytes,
        )
        columns = measured_columns(measurement)
        if not measurement.bit_exact:
            columns["message"] = "The board's outputs differ from the integer reference."
            log.error("%s: %s", network.policy, columns["message"])
        return columns

    def _connect(self) -> None:
        if self._session is None:
            config = self._config
            self._session = self._open.enter_context(
                open_board(
                    self._board,
                    config.probe or None,
                    simulated=True if config.simulated else None,
                    clock=config.clock,
                )
            )

    def _disconnect(self) -> None:
        self._session = None
        try:
            self._open.close()
        except BoardError as error:
            log.warning("closing the board: %s", error)


@dataclass(frozen=True, eq=False)
class _FewImages:
    """What judges policies quickly: statistics and answers on few images."""

    tables: StepTables
    correction: Correction
    executor: IncrementalExecutor


def _correction(graph: Graph, tables: StepTables, memory_bytes: int) -> Correction:
    return Correction(graph, float_statistics(graph, tables.images), memory_bytes=memory_bytes)


def _executor(graph: Graph, images: np.ndarray, memory_bytes: int) -> IncrementalExecutor:
    node = graph.input
    return IncrementalExecutor(images, node.low, node.high, memory_bytes=memory_bytes)


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started_s = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = time.perf_counter() - started_s
