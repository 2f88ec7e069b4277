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

from mcuq_lab.results import Row
from mcuq_lab.rlquant.methods.anchors import anchors, stack
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.space import SearchSpace

POPULATION = 20


class WidthProblem(PymooProblem):
    """The genes of a space; evaluated from outside."""

    def __init__(self, space: SearchSpace) -> None:
        low, high, n_genes = space.gene_range
        super().__init__(n_var=n_genes, n_obj=3, xl=low, xu=high, vtype=int)


def make_nsga2(
    space: SearchSpace, population: int, sampling: np.ndarray | None, seed: int
) -> NSGA2:
    """An NSGA-II over genes, to be asked and told; `sampling` (n, L, 2) starts its population."""
    rate = 1.5 / space.gene_range[2]
    start = IntegerRandomSampling() if sampling is None else space.encode(sampling)
    algorithm = NSGA2(
        pop_size=population,
        sampling=start,
        crossover=SBX(prob=0.9, eta=5, vtype=float, repair=RoundingRepair()),
        mutation=PM(prob_var=rate, eta=5, vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    problem = WidthProblem(space)
    return algorithm.setup(problem, termination=NoTermination(), seed=seed, verbose=False)


class Nsga2:
    """A population of 20 that starts with the anchors."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        first = stack(anchors(problem), problem.space.n_layers)
        missing = max(POPULATION - len(first), 0)
        drawn = problem.space.random(problem.rng(2), missing)
        sampling = np.concatenate([first, drawn])
        self._algorithm = make_nsga2(problem.space, POPULATION, sampling, problem.config.seed)
        self._asked = None

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        self._asked = self._algorithm.ask()
        space = self._problem.space
        policies = space.canonical(space.decode(self._asked.get("X")))
        return [Proposal(bits, "nsga2") for bits in policies]

    def tell(self, results: Sequence[Row]) -> None:
        self._asked.set("F", np.array([self._problem.objectives(row) for row in results]))
        self._algorithm.tell(infills=self._asked)

    def state(self) -> object:
        return (self._algorithm, self._asked)

    def restore(self, state: object) -> None:
        self._algorithm, self._asked = state

    def close(self) -> None:
        pass
