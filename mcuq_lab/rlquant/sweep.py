"""Many searches at once: seeds x budgets x methods as trials of Ray Tune.

Each trial is an ordinary run that holds one board of the cluster while it works, so as many trials
work at the same time as there are boards (of real ones: one a machine). A sweep is a folder of
runs. Begun again it finds those that are finished, goes on with those that are not, and makes the
rest; what Tune itself keeps is not needed for that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from mcuq_lab.errors import BoardError, ConfigError, McuqError
from mcuq_lab.rlquant.cluster import check_free, connect
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.curve import hypervolume_frame
from mcuq_lab.rlquant.methods import METHODS
from mcuq_lab.rlquant.search_benchmark import run_once

_WITH_AGENT = "rlquant"


@dataclass(frozen=True)
class SweepConfig:
    """A sweep: `base` with each combination of the rest."""

    base: SearchConfig
    """What all searches have in common."""
    methods: tuple[str, ...] = (_WITH_AGENT,)
    """As `SearchConfig.method`."""
    algorithms: tuple[str, ...] = ("ppo",)
    """As `AgentConfig.algorithm`; methods without an agent are searched once, not once for each."""
    seeds: int = 5
    """Seeds 0 .. seeds - 1."""
    evaluations: tuple[int, ...] = (100,)
    """As `SearchConfig.evaluations`, as the next three."""
    budget_sram_bytes: tuple[int | None, ...] = (None,)
    budget_flash_bytes: tuple[int | None, ...] = (None,)
    budget_latency_ms: tuple[float | None, ...] = (None,)

    def __post_init__(self) -> None:
        unknown = set(self.methods) - set(METHODS)
        if unknown:
            raise ConfigError(
                f"There is no method '{sorted(unknown)[0]}'; choose among {', '.join(METHODS)}."
            )
        if self.seeds < 1:
            raise ConfigError(f"A sweep needs at least 1 seed, not {self.seeds}.")

    def searches(self) -> Iterator[SearchConfig]:
        """The configurations of all searches, one seed of everything before the next."""
        agents = [replace(self.base.agent, algorithm=name) for name in self.algorithms]
        varied = (
            self.evaluations,
            self.budget_sram_bytes,
            self.budget_flash_bytes,
            self.budget_latency_ms,
        )
        for seed, method, (evaluations, sram, flash, latency) in product(
            range(self.seeds), self.methods, product(*varied)
        ):
            for agent in agents if method == _WITH_AGENT else [self.base.agent]:
                yield replace(
                    self.base,
                    method=method,
                    agent=agent,
                    seed=seed,
                    evaluations=evaluations,
                    budget_sram_bytes=sram,
                    budget_flash_bytes=flash,
                    budget_latency_ms=latency,
                    boards=1,
                    ray_address="",
                )


@dataclass(frozen=True)
class Trial:
    """What became of one search.

    Attributes:
        run: its folder's name; "" if it came to no end.
        hypervolume: of its front.
        seconds: that it worked.
        message: why it came to no end.
    """

    run: str = ""
    hypervolume: float = float("nan")
    seconds: float = float("nan")
    message: str = ""


@dataclass(frozen=True)
class SweepRow:
    """The searches of one combination, over the seeds.

    Attributes:
        algorithm: the agent's; "" for methods without one.
        seeds: searches that came to their end; the rest is about them.
        failed: searches that did not, and why the first of them did not (`message`).
        hypervolume_median, hypervolume_q1, hypervolume_q3: of their fronts; None if there are none.
        seconds_median: that they worked.
        runs: their folders.
    """

    model: str
    data: str
    method: str
    algorithm: str
    evaluations: int
    budget_sram_bytes: int | None
    budget_flash_bytes: int | None
    budget_latency_ms: float | None
    seeds: int
    failed: int
    message: str
    hypervolume_median: float | None
    hypervolume_q1: float | None
    hypervolume_q3: float | None
    seconds_median: float | None
    runs: tuple[str, ...]


def run_trial(config: SearchConfig, root: Path, command: str = "") -> Trial:
    """Finds, finishes or makes the run of a configuration under `root`.

    An error of our tree ends the trial, not the sweep: a budget that nothing keeps is a result.
    """
    try:
        run_dir = run_once(config, root, command=command)
    except McuqError as error:
        return Trial(message=str(error))
    last = hypervolume_frame(run_dir).iloc[-1]
    return Trial(run_dir.name, float(last["hypervolume"]), float(last["seconds"]))


def run_sweep(
    config: SweepConfig, root: Path, *, boards: int = 1, address: str = "", command: str = ""
) -> list[Trial]:
    """Runs all searches of a sweep as trials of Ray Tune; what became of each, in their order.

    Args:
        root: folder of the runs, on all machines of a cluster the same.
        boards: trials that work at the same time, each with a board of its own.
        address: Ray cluster that has the boards; empty: this machine, with simulated boards.
        command: kept in the runs.

    Raises:
        ConfigError: no such cluster, or fewer boards.
        BoardError: Ray did not start, or processes of trials died. What is finished is kept.
    """
    from ray import shutdown, tune  # takes seconds

    # Else trials run in folders of their own, where no mcuq.toml lies.
    os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
    searches, root = list(config.searches()), root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    own = connect(config.base.board, boards, address)
    try:
        check_free(config.base.board, boards)
        logging.getLogger("ray.tune").setLevel(logging.ERROR)

        def trial(parameters: dict[str, Any]) -> dict[str, Any]:
            return asdict(run_trial(searches[parameters["number"]], root, command))

        results = tune.Tuner(
            # The board is what is scarce; torch's threads are the configuration's business.
            tune.with_resources(trial, {"cpu": 0, config.base.board: 1}),
            param_space={"number": tune.grid_search(list(range(len(searches))))},
            tune_config=tune.TuneConfig(max_concurrent_trials=boards),
            run_config=tune.RunConfig(name="tune", storage_path=str(root), verbose=0),
        ).fit()
    finally:
        if own:
            shutdown()
    if results.errors:
        raise BoardError(
            f"{results.num_errors} searches of the sweep broke off ({results.errors[0]}); what is "
            "finished is kept: begin the sweep again."
        )
    metrics = sorted((result.metrics for result in results), key=lambda m: m["config"]["number"])
    names = [field.name for field in fields(Trial)]
    return [Trial(**{name: found[name] for name in names}) for found in metrics]


def summarize_sweep(searches: Sequence[SearchConfig], trials: Sequence[Trial]) -> list[SweepRow]:
    """One row for each combination of the searches but for their seeds."""
    groups: dict[SearchConfig, list[Trial]] = {}
    for search, trial in zip(searches, trials, strict=True):
        groups.setdefault(replace(search, seed=0), []).append(trial)
    return [_row(search, found) for search, found in groups.items()]


def _row(search: SearchConfig, trials: Sequence[Trial]) -> SweepRow:
    ended = [trial for trial in trials if trial.run]
    failed = [trial for trial in trials if not trial.run]
    volumes = [trial.hypervolume for trial in ended]
    quartiles = map(float, np.quantile(volumes, [0.25, 0.5, 0.75])) if ended else (None,) * 3
    q1, median, q3 = quartiles
    return SweepRow(
        model=search.model_name,
        data=search.data_name,
        method=search.method,
        algorithm=search.agent.algorithm if search.method == _WITH_AGENT else "",
        evaluations=search.evaluations,
        budget_sram_bytes=search.budget_sram_bytes,
        budget_flash_bytes=search.budget_flash_bytes,
        budget_latency_ms=search.budget_latency_ms,
        seeds=len(ended),
        failed=len(failed),
        message=failed[0].message if failed else "",
        hypervolume_median=median,
        hypervolume_q1=q1,
        hypervolume_q3=q3,
        seconds_median=float(np.median([trial.seconds for trial in ended])) if ended else None,
        runs=tuple(trial.run for trial in ended),
    )
