"""NSGA-II (Deb et al. 2002) on real evaluations, by pymoo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.methods.anchors import anchors, stack
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal

POPULATION = 20


class WidthProblem(PymooProblem):
    """The genes: all widths of a policy, w and a of each layer in turn; evaluated from outside."""

    def __init__(self, n_layers: int) -> None:
        super().__init__(n_var=2 * n_layers, n_obj=3, xl=MIN_BITS, xu=MAX_BITS, vtype=int)


def make_nsga2(n_layers: int, population: int, sampling: np.ndarray | None, seed: int) -> NSGA2:
    """An NSGA-II over widths, to be asked and told; `sampling` (n, L, 2) starts its population."""
    start = IntegerRandomSampling() if sampling is None else sampling.reshape(len(sampling), -1)
    algorithm = NSGA2(
        pop_size=population,
        sampling=start,
        crossover=SBX(prob=0.9, eta=5, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob_var=1.5 / (2 * n_layers), eta=5, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    problem = WidthProblem(n_layers)
    return algorithm.setup(problem, termination=NoTermination(), seed=seed, verbose=False)


class Nsga2:
    """A population of 20 that starts with the anchors."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        first = stack(anchors(problem), problem.space.n_layers)
        missing = max(POPULATION - len(first), 0)
        drawn = problem.space.random(problem.rng(2), missing)
        sampling = np.concatenate([first, drawn])
        self._algorithm = make_nsga2(
            problem.space.n_layers, POPULATION, sampling, problem.config.seed
        )
        self._asked = None

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        self._asked = self._algorithm.ask()
        genes = self._asked.get("X").reshape(-1, self._problem.space.n_layers, 2)
        return [Proposal(self._problem.space.canonical(bits), "nsga2") for bits in genes]

    def tell(self, results: Sequence[Row]) -> None:
        self._asked.set("F", np.array([self._problem.objectives(row) for row in results]))
        self._algorithm.tell(infills=self._asked)

    def state(self) -> object:
        return (self._algorithm, self._asked)

    def restore(self, state: object) -> None:
        self._algorithm, self._asked = state

    def close(self) -> None:
        pass
