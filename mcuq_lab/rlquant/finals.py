"""After a search: full training of its best policies, the test set, the board, the C.

A search scores thousands of mini-batches' worth of policies quickly; those that are kept deserve
quantization-aware training on all training images. Everything lands in the run's own folder:

    <run>/finals/final.json                   how they are trained
    <run>/finals/measurements/part-*.parquet  a row a policy, as a search's
    <run>/finals/<evaluation>/                state.npz, export/ (model.c, model.h, README)
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from mcuq_lab import liteengine
from mcuq_lab.bench import BoardSession, open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError, FitError, NumericsError
from mcuq_lab.flash_fit import engine_share
from mcuq_lab.liteengine.export import export_c
from mcuq_lab.models import Dataset, Network, find_dataset, find_network
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import (
    QatConfig,
    calibrate,
    evaluate,
    initial_state,
    quantization_aware_training,
    quantize_input,
    to_integers,
)
from mcuq_lab.results import (
    FINALS,
    Row,
    append_rows,
    front_mask,
    measured_columns,
    objectives,
    read_rows,
    read_run_info,
    write_atomically,
)
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.reference import check_network, reference_of
from mcuq_lab.rlquant.selection import pick_batch
from mcuq_lab.target import Target
from mcuq_lab.tuning import tuning_table

BOARD_INPUTS = 3

log = logging.getLogger("mcuq.rlquant")


@dataclass(frozen=True)
class FinalConfig:
    """How the final policies of a run are trained; the same for all of them."""

    epochs: int = 4
    """Passes over the training images."""
    seed: int = 0
    """Of the order of images and their crops."""


@dataclass(frozen=True)
class FinalProgress:
    """Where the finals of a run are: policy `number` (from 1) of `total`, batches of its training
    done and in all, the loss of the last one."""

    number: int
    total: int
    policy: Policy
    batches: int
    of_batches: int
    loss: float


def best_rows(run_dir: Path, n: int) -> list[Row]:
    """The `n` rows of a search that together cover the largest hypervolume, greedily, best first.

    Only rows count that keep the search's budgets and that no other one dominates.

    Raises:
        ConfigError: no such row yet.
    """
    config, rows = SearchConfig.from_json(read_run_info(run_dir).config), read_rows(run_dir)
    rows = [row for row in rows if row.ok]
    hz = rows[0].sysclk_hz if rows else 0
    kept = Budgets.of(config, hz).kept_by(rows)
    rows = [row for row, keeps in zip(rows, kept, strict=True) if keeps]
    if not rows:
        raise ConfigError(
            f"{run_dir.name} has no measured policy within its budgets yet; resume the search "
            f"with `mcuq search --resume {run_dir.name}`."
        )
    points = objectives(rows)
    front = np.flatnonzero(front_mask(points))
    points = points[front]
    nothing = np.empty((0, 3))
    chosen = pick_batch(nothing, points[None, :, 0], points[:, 1:], reference_of(run_dir), n)
    return [rows[front[i]] for i in chosen]


def final_rows(run_dir: Path) -> list[Row]:
    """The finished final rows of a run, in the order in which they were written.

    Their `evaluation` and policy are those of the search's row, `accuracy_quick` that of the
    trained network on the search's validation images, `accuracy_full` its accuracy on the test set.
    """
    return read_rows(run_dir / FINALS)


def finalize(
    run_dir: Path,
    n: int = 5,
    config: FinalConfig | None = None,
    progress: Callable[[FinalProgress], None] | None = None,
) -> list[Row]:
    """Trains, scores, measures and exports the `n` best policies of a search.

    Can be interrupted at any time and called again: finished policies are kept, and a training goes
    on after its last whole epoch. Called with a larger `n`, it adds policies.

    Args:
        run_dir: a search's run.
        n: policies; fewer if the front is smaller.
        config: of the training; the same as before, if some policies are finished.
        progress: called after each batch.

    Returns:
        The final rows, in the order of `best_rows`. A policy whose trained network does not fit is
        a row with that status; it has its test accuracy all the same.

    Raises:
        ConfigError: the run has no row to begin with, is being finalized by another process, was
            finalized otherwise before, or its network was never trained, or is another now.
        BoardError, BuildError: the board or the compiler fails; what is finished is kept.
    """
    config, chosen = config or FinalConfig(), best_rows(run_dir, n)
    folder = run_dir / FINALS
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{run_dir.name} is being finalized by another process.") from None
    with lock:
        _check_config(folder, config)
        (folder / "measurements").mkdir(exist_ok=True)
        finished = {row.policy: row for row in read_rows(folder)}
        missing = [row for row in chosen if row.policy not in finished]
        if missing:
            search = SearchConfig.from_json(read_run_info(run_dir).config)
            with _Finals(folder, search, config) as finals:
                for row in missing:
                    number = chosen.index(row) + 1
                    show = _reporter(progress, number, len(chosen), Policy.of(row.policy))
                    final = finals.finish(row, show)
                    append_rows(folder, [final])
                    finals.forget_training(row)
                    finished[row.policy] = final
    return [finished[row.policy] for row in chosen]


class _Finals:
    """Network, data and board for the policies of one run."""

    def __init__(self, folder: Path, search: SearchConfig, config: FinalConfig) -> None:
        torch.set_num_threads(search.lower_level.threads)
        self._folder, self._search, self._config = folder, search, config
        self._data: Dataset = find_dataset(search.data)
        self._network: Network = find_network(search.model, self._data.name)
        check_network(folder.parent, self._network.graph)
        if self._network.test_accuracy is None:
            raise ConfigError(
                f"{search.model} is not trained on {self._data.name}, so there is nothing to "
                "train its quantized form towards; train it first with "
                "`python -m mcuq_lab.models.train`."
            )
        self._engine, self._board = engine_named(search.engine), load_board(search.board)
        images = self._data.train_images[: search.lower_level.calibration_images]
        self._tables = calibrate(self._network.graph, images)
        self._open = ExitStack()
        self._session: BoardSession | None = None

    def __enter__(self) -> _Finals:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def finish(self, row: Row, show: Callable[[int, int, float], None] | None) -> Row:
        """The final row of a search's row; its folder holds state and export then."""
        started_s = time.perf_counter()
        known = {
            "evaluation": row.evaluation,
            "model": row.model,
            "data": row.data,
            "board": row.board,
            "engine": row.engine,
            "policy": row.policy,
            "origin": "final",
        }
        try:
            network = self._train(row, show)
        except NumericsError as error:
            return Row(**known, status="fault", message=str(error))
        seconds = {"finetune": time.perf_counter() - started_s}
        started_s = time.perf_counter()
        data, lower = self._data, self._search.lower_level
        n_images = min(lower.validation_images, len(data.validation_labels))
        known |= {
            "accuracy_quick": self._score(
                network, data.validation_images[:n_images], data.validation_labels[:n_images]
            ),
            "n_images": n_images,
            "accuracy_full": self._score(network, data.test_images, data.test_labels),
        }
        seconds["accuracy"] = time.perf_counter() - started_s
        self._export(row, network)
        try:
            columns = self._measure(network)
        except FitError as error:
            return Row(
                **known, status=f"no_fit_{error.memory}", message=str(error), seconds=seconds
            )
        seconds |= columns.pop("seconds")
        return Row(**(columns | known), seconds=seconds)

    def forget_training(self, row: Row) -> None:
        """Removes the training's checkpoint of a policy whose row is written."""
        (self._place(row) / "training.pt").unlink(missing_ok=True)

    def _place(self, row: Row) -> Path:
        return self._folder / f"{row.evaluation:04d}"

    def _train(self, row: Row, show: Callable[[int, int, float], None] | None) -> QuantGraph:
        place, graph, data = self._place(row), self._network.graph, self._data
        place.mkdir(exist_ok=True)
        state = quantization_aware_training(
            graph,
            initial_state(graph, Policy.of(row.policy), self._tables),
            data.train_images,
            QatConfig(
                epochs=self._config.epochs,
                mirror=data.mirror_keeps_class,
                seed=self._config.seed,
            ),
            checkpoint=place / "training.pt",
            progress=show,
        )
        state.save(place / "state.npz")
        return to_integers(graph, state)

    def _score(self, network: QuantGraph, images: np.ndarray, labels: np.ndarray) -> float:
        node = self._network.graph.input
        return evaluate(network, images, labels, node.low, node.high)

    def _export(self, row: Row, network: QuantGraph) -> None:
        if self._engine.name == liteengine.ENGINE_NAME:
            table = tuning_table(self._connected()).read()
            search = self._search
            image = Target.of(self._board, search.arena_bytes, search.budget_flash_bytes)
            place = self._place(row) / "export"
            export_c(network, place, measured_cycles=table, target=engine_share(image))

    def _measure(self, network: QuantGraph) -> dict:
        node = self._network.graph.input
        images = self._data.test_images[:BOARD_INPUTS]
        inputs = quantize_input(images, network.input, node.low, node.high)
        measurement = measure_network(
            network,
            self._engine,
            self._connected(),
            inputs,
            data=self._data.name,
            arena_bytes=self._search.arena_bytes,
            flash_bytes=self._search.budget_flash_bytes,
        )
        columns = measured_columns(measurement)
        if not measurement.bit_exact:
            columns["message"] = "The board's outputs differ from the integer reference."
            log.error("%s: %s", network.policy, columns["message"])
        return columns

    def _connected(self) -> BoardSession:
        if self._session is None:
            search = self._search
            simulated = True if search.simulated else None
            probe = next(iter(search.probe_uids), None)
            session = open_board(self._board, probe, simulated, search.clock)
            self._session = self._open.enter_context(session)
        return self._session


def _reporter(
    progress: Callable[[FinalProgress], None] | None, number: int, total: int, policy: Policy
) -> Callable[[int, int, float], None] | None:
    if progress is None:
        return None
    make = partial(FinalProgress, number, total, policy)
    return lambda done, of, loss: progress(make(done, of, loss))


def _check_config(folder: Path, config: FinalConfig) -> None:
    """Writes final.json, or refuses a training that differs from the one that it names."""
    path = folder / "final.json"
    if not path.exists():
        write_atomically(path, (json.dumps(asdict(config), indent=2) + "\n").encode())
        return
    try:
        before = FinalConfig(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); remove {folder} to begin anew."
        ) from error
    if before != config:
        raise ConfigError(
            f"{folder} was begun with {before.epochs} epochs and seed {before.seed}; go on with "
            "these, or remove the folder to train all policies anew."
        )
