"""Multi-objective TPE (Ozaki et al. 2022), by optuna, one policy at a time."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna

from mcuq_lab.results import Row
from mcuq_lab.rlquant.methods.anchors import anchors
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.proposers import mutate

_MOST_REPEATS = 3
"""So many proposals in a row of what was measured before, and a small change of the last one stands
in: the sampler does not know that it repeats itself, and in a small space does little else."""
_CHILDREN = 64


class Tpe:
    """Optuna's sampler, started with the anchors."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._trial = None
        self._repeats = 0
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(seed=problem.config.seed, n_startup_trials=20)
        self._study = optuna.create_study(directions=["minimize"] * 3, sampler=sampler)
        for proposal in anchors(problem):
            self._enqueue(proposal.bits)

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        seen = {row.policy for row in rows}
        proposal = self._suggested()
        self._repeats = self._repeats + 1 if proposal.key in seen else 0
        if self._repeats == _MOST_REPEATS:
            self._repeats = 0
            rng = self._problem.rng(6, len(self._study.trials))
            children = mutate(self._problem.space, proposal.bits[None], _CHILDREN, rng)
            made = (Proposal(bits, "tpe") for bits in self._problem.space.canonical(children))
            fresh = next((p for p in made if p.key not in seen), None)
            if fresh is not None:
                self._study.tell(self._trial, state=optuna.trial.TrialState.FAIL)
                self._enqueue(fresh.bits)
                proposal = self._suggested()
        return [proposal]

    def _suggested(self) -> Proposal:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._trial = self._study.ask()
            space = self._problem.space
            low, high, _ = space.gene_range
            genes = [self._trial.suggest_int(name, low, high) for name in self._names]
        bits = space.decode(np.array(genes))
        return Proposal(space.canonical(bits), "tpe")

    def _enqueue(self, bits: np.ndarray) -> None:
        genes = self._problem.space.encode(bits).tolist()
        self._study.enqueue_trial(dict(zip(self._names, genes, strict=True)))

    def tell(self, results: Sequence[Row]) -> None:
        (row,) = results
        self._study.tell(self._trial, list(self._problem.objectives(row)))

    def state(self) -> object:
        return (self._study, self._trial, self._repeats)

    def restore(self, state: object) -> None:
        self._study, self._trial, self._repeats = state

    def close(self) -> None:
        pass

    @property
    def _names(self) -> list[str]:
        return [f"gene{i}" for i in range(self._problem.space.gene_range[2])]
