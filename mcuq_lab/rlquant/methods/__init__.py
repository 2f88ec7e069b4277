"""Search methods, one name each: ours, the same without RL, and the rivals."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

from mcuq_lab.errors import ConfigError
from mcuq_lab.rlquant.methods.protocol import Method, Problem, Proposal
from mcuq_lab.rlquant.methods.within import KeepsBudgets


def make_method(problem: Problem) -> Method:
    """The method that the problem's configuration names; raises ConfigError for another name."""
    name = problem.config.method
    if name not in METHODS:
        raise ConfigError(f"There is no method '{name}'; choose one of {', '.join(METHODS)}.")
    method = METHODS[name](problem)
    return KeepsBudgets(method, problem.gauge) if problem.budgets.any else method


# Each method is imported when it is made: pymoo, optuna and ray take seconds each.


def _random(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.random_search import RandomSearch

    return RandomSearch(problem)


def _nsga2(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.nsga2 import Nsga2

    return Nsga2(problem)


def _tpe(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.tpe import Tpe

    return Tpe(problem)


def _ilp(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.ilp import Ilp

    return Ilp(problem)


def _greedy(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.greedy import Greedy

    return Greedy(problem)


def _mutations(problem: Problem):
    from mcuq_lab.rlquant.proposers import Mutations

    settings = problem.config.proposals
    return Mutations(settings.mutations, settings.generations)


def _sa_mutation(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.surrogate_search import SurrogateSearch

    return SurrogateSearch(problem, [_mutations(problem)])


def _sa_nsga2(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.surrogate_search import SurrogateSearch
    from mcuq_lab.rlquant.proposers import InnerNsga2

    return SurrogateSearch(problem, [InnerNsga2()])


def _rlquant(problem: Problem) -> Method:
    from mcuq_lab.rlquant.agent import Agent
    from mcuq_lab.rlquant.methods.surrogate_search import SurrogateSearch

    agent = Agent(problem.config.agent, len(problem.space.decisions), problem.config.seed)
    return SurrogateSearch(problem, [agent, _mutations(problem)], informed=True)


def _without_rl(problem: Problem) -> Method:
    from mcuq_lab.rlquant.methods.surrogate_search import SurrogateSearch

    return SurrogateSearch(problem, [_mutations(problem)], informed=True)


METHODS: MappingProxyType[str, Callable[[Problem], Method]] = MappingProxyType(
    {
        "rlquant": _rlquant,
        "without_rl": _without_rl,
        "sa_mutation": _sa_mutation,
        "sa_nsga2": _sa_nsga2,
        "nsga2": _nsga2,
        "tpe": _tpe,
        "ilp": _ilp,
        "greedy": _greedy,
        "random": _random,
    }
)

__all__ = ["METHODS", "Method", "Problem", "Proposal", "make_method"]
