"""Where candidates come from inside the surrogate loop: mutations, an inner NSGA-II, the agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.results import front_mask
from mcuq_lab.rlquant.cost_surrogate import CostSurrogate
from mcuq_lab.rlquant.env import World
from mcuq_lab.rlquant.space import SearchSpace
from mcuq_lab.rlquant.surrogate import AccuracySurrogate


@dataclass(frozen=True, eq=False)
class Round:
    """One round of the surrogate loop.

    Attributes:
        number: from 0.
        world: costs, budgets and reference, judged by the surrogate.
        guess: costs of whole policies, more exact than the world's.
        front: measured policies that nobody dominates, (f, L, 2).
        front_points: their objectives, float64 (f, 3).
        rng: the round's own generator.
    """

    number: int
    world: World
    surrogate: AccuracySurrogate
    guess: CostSurrogate
    front: np.ndarray
    front_points: np.ndarray
    rng: np.random.Generator

    def imagined(self, bits: np.ndarray) -> np.ndarray:
        """Expected objectives over the reference for policies (n, L, 2); (n, 3)."""
        points = np.column_stack([1.0 - self.surrogate.mean(bits), self.guess.both(bits)])
        return points / self.world.reference.array


class Proposer(Protocol):
    """A source of candidates; `name` becomes the origin of the rows."""

    name: str

    def propose(self, round_: Round, found: np.ndarray) -> np.ndarray:
        """Candidates, (n, L, 2), not yet canonical; `found` are those of earlier proposers."""

    def state(self) -> object: ...

    def restore(self, state: object) -> None: ...

    def close(self) -> None: ...


class Mutations:
    """Small changes and crossings of good policies, for some imagined generations.

    Begins with the measured front and what earlier proposers found. After each generation the
    policies that nobody dominates in imagination live on.

    Args:
        n: children a generation.
        generations: 1 changes the parents once.
    """

    name = "mutation"

    def __init__(self, n: int, generations: int) -> None:
        self._n, self._generations = n, generations

    def propose(self, round_: Round, found: np.ndarray) -> np.ndarray:
        space, world = round_.world.costs.space, round_.world
        parents = np.concatenate([round_.front, found])
        for generation in range(self._generations):
            children = space.canonical(mutate(space, parents, self._n, round_.rng))
            if generation == self._generations - 1:
                return np.concatenate([parents, children])
            parents = np.unique(np.concatenate([parents, children]), axis=0)
            if world.budgets.any:
                kept = world.budgets.keeps(world.costs, parents)
                parents = parents[kept] if kept.any() else parents
            parents = parents[front_mask(round_.imagined(parents))]
        return parents

    def state(self) -> object:
        return None

    def restore(self, state: object) -> None:
        pass

    def close(self) -> None:
        pass


class InnerNsga2:
    """NSGA-II run to its end on the surrogate; its last populations are the candidates."""

    name = "sa_nsga2"

    def __init__(self, population: int = 64, generations: int = 40) -> None:
        self._population, self._generations = population, generations

    def propose(self, round_: Round, found: np.ndarray) -> np.ndarray:
        from mcuq_lab.rlquant.methods.nsga2 import make_nsga2

        space = round_.world.costs.space
        missing = max(self._population - len(round_.front), 0)
        start = np.concatenate(
            [round_.front[: self._population], space.random(round_.rng, missing)]
        )
        seed = int(round_.rng.integers(2**31))
        algorithm = make_nsga2(space, self._population, start, seed)
        populations = []
        for generation in range(self._generations):
            asked = algorithm.ask()
            bits = space.decode(asked.get("X"))
            objectives = round_.imagined(bits)
            kept = round_.world.budgets.keeps(round_.world.costs, bits)
            asked.set("F", np.where(kept[:, None], objectives, objectives + 2.0))
            algorithm.tell(infills=asked)
            if generation >= self._generations - 8:
                populations.append(space.decode(algorithm.pop.get("X")))
        return np.concatenate(populations)

    def state(self) -> object:
        return None

    def restore(self, state: object) -> None:
        pass

    def close(self) -> None:
        pass


def mutate(space: SearchSpace, parents: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` children of `parents` (m, L, 2): some crossed with another parent, some genes changed.

    A child changes 1, 2 or 4 genes on average; a change is a step of one or two, or, three times in
    ten, any value (a gene is a width; in a restricted space the number of a pair).
    """
    low, high, _ = space.gene_range
    parents = space.encode(parents).astype(np.int16)
    children = parents[rng.integers(len(parents), size=n)]
    others = parents[rng.integers(len(parents), size=n)]
    crossed = rng.random(n) < 0.3
    mixed = rng.random(children.shape) < 0.5
    children = np.where(mixed & crossed[:, None], others, children)
    rate = rng.choice([1.0, 2.0, 4.0], size=n) / children[0].size
    hit = rng.random(children.shape) < rate[:, None]
    nudged = children + rng.choice([-2, -1, 1, 2], size=children.shape)
    redrawn = rng.integers(low, high + 1, children.shape)
    changed = np.where(rng.random(children.shape) < 0.7, nudged, redrawn)
    return space.decode(np.clip(np.where(hit, changed, children), low, high))


def redraw_weights(parents: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` policies of `parents` (m, L, 2), a quarter to all of their weights' widths drawn anew."""
    bits = parents[rng.integers(len(parents), size=n)].copy()
    weights = bits[..., 0]
    hit = rng.random(weights.shape) < rng.choice([0.25, 0.5, 1.0], size=n)[:, None]
    weights[hit] = rng.integers(MIN_BITS, MAX_BITS + 1, hit.sum())
    return bits


def narrow_tensors(space: SearchSpace, n: int, rng: np.random.Generator) -> np.ndarray:
    """`n` policies (n, L, 2): all tensors as narrow as can be but for one to four, and any weights.

    The operator that takes most memory decides, so that one wide tensor hides what the others would
    make possible; and where all are narrow, one wider tensor may allow kernels that need less.
    """
    groups = space.input_groups
    bits = np.full((n, space.n_layers, 2), MIN_BITS, np.int8)
    bits[..., 0] = rng.integers(MIN_BITS, MAX_BITS + 1, bits.shape[:2])
    ranks = rng.random((n, int(groups.max()) + 1)).argsort(axis=1)
    wider = ranks < rng.integers(1, 5, size=(n, 1))
    # Of widths that are alike in memory one or two stand for all.
    widths = np.where(wider, rng.choice([3, 4, 4, 8], size=wider.shape), MIN_BITS)
    bits[..., 1] = widths[:, groups]
    return bits
