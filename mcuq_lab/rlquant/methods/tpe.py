"""Multi-objective TPE (Ozaki et al. 2022), by optuna, one policy at a time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna

from mcuq_lab.results import Row
from mcuq_lab.rlquant.methods.anchors import anchors
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal


class Tpe:
    """Optuna's sampler, started with the anchors."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._trial = None
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=problem.config.seed, n_startup_trials=20)
        self._study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
        for proposal in anchors(problem):
            genes = problem.space.encode(proposal.bits).tolist()
            self._study.enqueue_trial(dict(zip(self._names, genes, strict=True)))

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._trial = self._study.ask()
            space = self._problem.space
            low, high, _ = space.gene_range
            genes = [self._trial.suggest_int(name, low, high) for name in self._names]
        bits = space.decode(np.array(genes))
        return [Proposal(space.canonical(bits), "tpe")]

    def tell(self, results: Sequence[Row]) -> None:
        (row,) = results
        self._study.tell(self._trial, list(self._problem.objectives(row)))

    def state(self) -> object:
        return (self._study, self._trial)

    def restore(self, state: object) -> None:
        self._study, self._trial = state

    def close(self) -> None:
        pass

    @property
    def _names(self) -> list[str]:
        return [f"gene{i}" for i in range(self._problem.space.gene_range[2])]
