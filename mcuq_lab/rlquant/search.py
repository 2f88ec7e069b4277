"""The search: evaluate what the method proposes, keep every row, survive anything.

`process` runs this loop in a process of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy
from mcuq_lab.results import (
    RUNS_DIR,
    ReferencePoint,
    Row,
    append_rows,
    create_run,
    hypervolume,
    objectives,
    read_rows,
    read_run_info,
    reconfigure_run,
)
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.evaluation import Evaluator, load_evaluator
from mcuq_lab.rlquant.feasibility import MOST_PROBES, next_probe, refusal, smallest_policy
from mcuq_lab.rlquant.gauge import Gauge
from mcuq_lab.rlquant.methods import METHODS, Method, Problem, Proposal, make_method
from mcuq_lab.rlquant.progress import Progress, read_progress, write_progress
from mcuq_lab.rlquant.reference import check_network, save_reference
from mcuq_lab.rlquant.space import to_bits, to_policy

log = logging.getLogger("mcuq.rlquant")

_REFERENCE_POLICIES = ("w8a8", "w4a4", "w2a2")
"""The first of these that runs sets the reference point: w8a8 unless it does not fit. It is
measured even if it breaks the budgets, so that hypervolumes of all searches have one scale."""

_MAX_IDLE_PROPOSALS = 200
"""So many repeats in batches of nothing but repeats, and the method has run dry."""


def new_run(config: SearchConfig, *, command: str = "", root: Path = RUNS_DIR) -> Path:
    """Makes the directory of a new search; raises ConfigError if the method is unknown."""
    if config.method not in METHODS:
        raise ConfigError(
            f"There is no method '{config.method}'; choose one of {', '.join(METHODS)}."
        )
    config = config.located()
    return create_run(
        kind="search",
        model=config.model_name,
        data=config.data_name,
        board=config.board,
        method=config.method,
        seed=config.seed,
        config=config.to_json(),
        command=command,
        root=root,
    )


def prolong(run_dir: Path, evaluations: int) -> None:
    """Lets a search go on, when it is resumed, up to `evaluations`; it will end as if it had been
    started with as many. Raises ConfigError if it has measured more already."""
    measured = len(read_rows(run_dir))
    if evaluations < measured:
        raise ConfigError(
            f"{run_dir.name} has measured {measured} policies; prolong it to more than that, not "
            f"to {evaluations}."
        )
    config = SearchConfig.from_json(read_run_info(run_dir).config)
    reconfigure_run(run_dir, replace(config, evaluations=evaluations).to_json())


def run_search(
    run_dir: Path,
    *,
    evaluator: Evaluator | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Runs the search of `run_dir`, from its start or from where it was interrupted, to its end.

    Args:
        evaluator: who evaluates; the one that the run's configuration names if None.
        should_stop: asked after each evaluation; True ends the search, to be resumed later.

    Raises:
        ConfigError: the run's files are damaged, another process runs it, or no policy can run.
        McuqError: nothing can be evaluated any more. Rows so far are kept.
    """
    config = SearchConfig.from_json(read_run_info(run_dir).config)
    lock = FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{run_dir.name} is being run by another process; attach to it, or stop it first."
        ) from None
    with lock:
        write_progress(run_dir, Progress("starting", total=config.evaluations))
        own = evaluator is None
        try:
            evaluator = _make_evaluator(config) if own else evaluator
            progress = _Search(run_dir, config, evaluator, should_stop).run()
        except BaseException as error:
            _report_end(run_dir, config, error)
            raise
        finally:
            if own and evaluator is not None:
                evaluator.close()
    return progress


class _Search:
    """One life of one search."""

    def __init__(
        self,
        run_dir: Path,
        config: SearchConfig,
        evaluator: Evaluator,
        should_stop: Callable[[], bool],
    ) -> None:
        self._run_dir, self._config, self._evaluator = run_dir, config, evaluator
        self._should_stop = should_stop
        self._space = evaluator.space()
        self._rows = read_rows(run_dir)
        self._position = {row.policy: i for i, row in enumerate(self._rows)}
        self._reference: ReferencePoint | None = None
        self._started_s = time.monotonic()
        self._worked_before_s = self._rows[-1].elapsed_s if self._rows else 0.0
        self._bar = tqdm(total=config.evaluations, initial=len(self._rows), unit="policy")

    def run(self) -> Progress:
        check_network(self._run_dir, self._evaluator.graph)
        budgets = Budgets.of(self._config, self._evaluator.sysclk_hz)
        gauge = self._gauge(budgets)
        smallest = None
        if budgets.any and not budgets.kept_by(self._first_rows).any():
            smallest = smallest_policy(gauge)
        self._reference = self._measure_reference()
        if smallest is not None:
            self._find_feasible(gauge, smallest)
        narrowed = self._narrowed(budgets)
        method = make_method(self._problem(self._gauge(narrowed)))
        try:
            return self._loop(method)
        finally:
            method.close()
            self._bar.close()

    def _loop(self, method: Method) -> Progress:
        """Asks, evaluates and tells; rows of an earlier life answer proposals without the board.

        `known` rows are what the method has been told of: in a replay it must not see the future.
        """
        checkpoint = load_checkpoint(self._run_dir)
        batch: Sequence[Proposal] = ()
        known = len(self._first_rows)
        if checkpoint is not None:
            method.restore(checkpoint.state)
            batch, known = checkpoint.batch, checkpoint.n_rows
        idle = 0
        while len(self._rows) < self._config.evaluations:
            propose_s = 0.0
            if not batch:
                batch, propose_s = self._ask(method, known)
                if not batch:
                    log.warning("%s has no more proposals", self._config.method)
                    break
            if not self._evaluate_batch(batch, propose_s):
                break
            if self._should_stop():
                return self._report("stopped")
            method.tell([self._rows[self._position[p.key]] for p in batch])
            told = 1 + max(self._position[p.key] for p in batch)
            idle = idle + len(batch) if told <= known else 0
            batch, known = (), max(known, told)
            if idle >= _MAX_IDLE_PROPOSALS:
                log.warning("%s only repeats itself; the search ends early", self._config.method)
                break
        return self._report("done")

    def _ask(self, method: Method, known: int) -> tuple[Sequence[Proposal], float]:
        self._report("proposing")
        started_s = time.monotonic()
        batch = tuple(method.ask(self._rows[:known]))
        propose_s = time.monotonic() - started_s
        if batch:
            save_checkpoint(self._run_dir, Checkpoint(known, batch, method.state()))
        return batch, propose_s

    def _evaluate_batch(self, batch: Sequence[Proposal], propose_s: float) -> bool:
        """Evaluates what has no row yet; False when the search is over before the batch is."""
        unseen = {p.key: p for p in batch if p.key not in self._position}
        left = self._config.evaluations - len(self._rows)
        fresh = list(unseen.values())[:left]
        policies = [to_policy(self._space.canonical(p.bits)) for p in fresh]
        self._report("evaluating")
        rows = self._evaluator.evaluate_many(policies)
        for proposal in fresh:
            if self._should_stop():
                return True
            self._append(next(rows), proposal.origin, propose_s)
            propose_s = 0.0
        return len(unseen) <= left

    def _measure_reference(self) -> ReferencePoint:
        for text in _REFERENCE_POLICIES:
            bits = to_bits([Policy.parse(text, self._space.n_layers)])[0]
            at = self._position.get(to_policy(self._space.canonical(bits)).pairs)
            row = self._evaluate(bits, "reference") if at is None else self._rows[at]
            if row.ok:
                return self._save_reference(row)
        raise ConfigError(
            f"No uniform policy of {row.model} runs on {row.board}; the smallest ended with "
            f"{row.status}: {row.message} Choose a smaller network or a larger board."
        )

    def _gauge(self, budgets: Budgets) -> Gauge:
        evaluator = self._evaluator
        return Gauge(
            self._space,
            budgets,
            lambda bits: evaluator.plan(to_policy(bits)),
            lambda bits: evaluator.image_bytes(to_policy(bits)),
            lambda bits: evaluator.least_flash_bytes(to_policy(bits)),
        )

    def _find_feasible(self, gauge: Gauge, smallest: np.ndarray) -> None:
        """Measures until a policy keeps the budgets; raises ConfigError if none comes to light."""
        for _ in range(MOST_PROBES):
            probe = next_probe(gauge, self._first_rows, smallest)
            if probe is None or len(self._rows) >= self._config.evaluations:
                break
            self._evaluate(probe, "probe")
        rows = self._first_rows
        if not gauge.budgets.kept_by(rows).any():
            raise refusal(gauge.budgets, rows, self._evaluator.sysclk_hz)

    def _narrowed(self, budgets: Budgets) -> Budgets:
        """The budgets; where wide policies do not fit the board, its own limits count as such."""
        statuses = {row.status for row in self._first_rows}
        sram, flash = budgets.sram_bytes, budgets.flash_bytes
        if "no_fit_sram" in statuses and sram is None:
            sram = self._evaluator.board_sram_bytes
        if "no_fit_flash" in statuses and flash is None:
            flash = self._evaluator.board_flash_bytes
        return Budgets(sram, flash, budgets.cycles)

    @property
    def _first_rows(self) -> list[Row]:
        """What was measured before the method began: w8a8, and what else the start needed."""
        return [row for row in self._rows if row.origin in ("reference", "probe")]

    def _save_reference(self, row: Row) -> ReferencePoint:
        factor = self._config.reference_cost_factor
        reference = ReferencePoint(
            error=1.0 - self._evaluator.float_accuracy + self._config.reference_accuracy_drop,
            cycles=row.cycles_median * factor,
            sram_peak_bytes=row.sram_peak_bytes * factor,
        )
        evaluator = self._evaluator
        save_reference(self._run_dir, reference, evaluator.float_accuracy, evaluator.graph, row)
        return reference

    def _problem(self, gauge: Gauge) -> Problem:
        return Problem(
            gauge=gauge,
            first_rows=tuple(self._first_rows),
            reference=self._reference,
            config=self._config,
            sensitivity=self._evaluator.sensitivity,
        )

    def _evaluate(self, bits: np.ndarray, origin: str) -> Row:
        self._report("evaluating")
        policy = to_policy(self._space.canonical(bits))
        return self._append(self._evaluator.evaluate(policy), origin, 0.0)

    def _append(self, row: Row, origin: str, propose_s: float) -> Row:
        """Makes an evaluated row the search's next one."""
        seconds = dict(row.seconds) | ({"propose": propose_s} if propose_s else {})
        row = replace(
            row,
            evaluation=len(self._rows),
            origin=origin,
            seconds=seconds,
            elapsed_s=self._elapsed_s(),
        )
        append_rows(self._run_dir, [row])
        self._position[row.policy] = len(self._rows)
        self._rows.append(row)
        self._bar.update()
        level = logging.INFO if row.ok else logging.WARNING
        policy = Policy.of(row.policy)
        log.log(level, "%d %s %s %s", row.evaluation, origin, policy, row.message or row.status)
        self._report("evaluating")
        return row

    def _report(self, state: str) -> Progress:
        volume = 0.0
        if self._reference is not None:
            volume = hypervolume(self._kept_objectives(), self._reference)
            self._bar.set_postfix(hypervolume=f"{volume:.4f}", refresh=False)
        progress = Progress(
            state=state,
            evaluations=len(self._rows),
            total=self._config.evaluations,
            hypervolume=volume,
            failures=sum(not row.ok for row in self._rows),
            last=_short(self._rows[-1]) if self._rows else {},
            elapsed_s=self._elapsed_s(),
        )
        write_progress(self._run_dir, progress)
        self._bar.set_description(state)
        return progress

    def _kept_objectives(self) -> np.ndarray:
        """Objectives of the rows that keep the budgets, (n, 3)."""
        budgets = Budgets.of(self._config, self._evaluator.sysclk_hz)
        kept = budgets.kept_by(self._rows)
        return objectives([row for row, keeps in zip(self._rows, kept, strict=True) if keeps])

    def _elapsed_s(self) -> float:
        return self._worked_before_s + time.monotonic() - self._started_s


def _make_evaluator(config: SearchConfig) -> Evaluator:
    if config.boards == 1 and not config.ray_address:
        return load_evaluator(config)
    from mcuq_lab.rlquant.fleet import BoardFleet  # Ray takes seconds to import

    return BoardFleet(config)


def _report_end(run_dir: Path, config: SearchConfig, error: BaseException) -> None:
    state = "stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    before = read_progress(run_dir) or Progress(state)
    message = f"{type(error).__name__}: {error}"
    write_progress(run_dir, replace(before, state=state, total=config.evaluations, message=message))


def _short(row: Row) -> dict:
    return {
        "policy": str(Policy.of(row.policy)),
        "origin": row.origin,
        "status": row.status,
        "accuracy": row.accuracy_quick,
        "cycles": row.cycles_median,
        "sram_peak_bytes": row.sram_peak_bytes,
    }
