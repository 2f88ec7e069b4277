"""The upper level as a gymnasium environment: one step a decision, one policy an episode.

A decision is a layer, or in a restricted space a tie of layers, met at its first one.

Observation (a flat float32 vector): the layer's descriptors as in HAQ, the widths chosen for the
layer before, what the policy costs so far (its rest at the smallest widths), what is left of each
hard budget, the episode's preference, and at its end the 14-wide action mask. Action:
MultiDiscrete([7, 7]), the indices of w_bits and a_bits.

The return of an episode is exactly `-preference . (error, cycles, SRAM) / reference`: each step
pays the cost that its choice adds (costs are known), the last step pays the error, and what the
measured costs differ from the known ones. A failure (does not fit, hangs, faults) pays
`FAILURE_REWARD` at the end instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.results import ReferencePoint, Row
from mcuq_lab.rlquant.budgets import Budgets, choice_mask, feasible_choices, nearest_feasible
from mcuq_lab.rlquant.costs import Costs
from mcuq_lab.rlquant.space import FEATURES, N_WIDTHS

FAILURE_REWARD = -2.0
MASK_WIDTH = 2 * N_WIDTHS
N_OBJECTIVES = 3
OBSERVATION_WIDTH = len(FEATURES) + 2 + 3 + 3 + N_OBJECTIVES + MASK_WIDTH
PREFERENCE = slice(-MASK_WIDTH - N_OBJECTIVES, -MASK_WIDTH)
"""Where an observation holds the episode's preference."""


@dataclass(frozen=True)
class Outcome:
    """What became of a policy. Costs are None where only the known costs are to count."""

    ok: bool
    accuracy: float = 0.0
    cycles: float | None = None
    sram_bytes: float | None = None

    @classmethod
    def of_row(cls, row: Row) -> Outcome:
        """The outcome of a real evaluation."""
        if not row.ok:
            return cls(ok=False)
        return cls(True, row.accuracy_quick, row.cycles_median, row.sram_peak_bytes)


@dataclass(frozen=True, eq=False)
class World:
    """Everything that an episode depends on.

    Attributes:
        costs: what is known about costs (its `space` is the search space).
        budgets: hard limits, kept by masks.
        reference: scales the objectives.
        judge: what becomes of policies (n, L, 2): imagined by a surrogate, or measured.
    """

    costs: Costs
    budgets: Budgets
    reference: ReferencePoint
    judge: Callable[[np.ndarray], Sequence[Outcome]]

    def scaled_costs(self, bits: np.ndarray) -> np.ndarray:
        """(cycles, SRAM) of policies over the reference's, float64 of shape (..., 2)."""
        cycles = self.costs.cycles(bits) / self.reference.cycles
        return np.stack([cycles, self.costs.sram_bytes(bits) / self.reference.sram_peak_bytes], -1)


def draw_preference(rng: np.random.Generator, n: int) -> np.ndarray:
    """Preferences over (error, cycles, SRAM), uniform on the simplex, float64 (n, 3)."""
    return rng.dirichlet(np.ones(N_OBJECTIVES), size=n)


class Episodes:
    """`n` episodes side by side: the environment's dynamics, free of gymnasium.

    Attributes:
        bits: policies so far (n, L, 2), layers ahead at the smallest widths.
        layer: the layer to decide next; the number of layers when all are.
        parts: what the last step (after `judge`: the judgement) adds to each objective over the
            reference, (n, 3); its reward is `penalty - preference . parts` under any preference.
        penalty: what it pays besides, (n,): `FAILURE_REWARD` in place of a failure's parts.
    """

    def __init__(self, world: World, preferences: np.ndarray) -> None:
        n_layers = world.costs.space.n_layers
        self.world = world
        self.preferences = preferences
        self.bits = np.full((len(preferences), n_layers, 2), MIN_BITS, dtype=np.int8)
        self.layer = 0
        self.parts = np.zeros((len(preferences), N_OBJECTIVES))
        self.penalty = np.zeros(len(preferences))
        self._costs = world.scaled_costs(self.bits)
        self._feasible = self._find_feasible()

    @property
    def done(self) -> bool:
        return self.layer == self.world.costs.space.n_layers

    def observe(self) -> np.ndarray:
        """Observations, float32 of shape (n, OBSERVATION_WIDTH)."""
        n, costs = len(self.bits), self.world.costs
        layer = min(self.layer, costs.space.n_layers - 1)
        features = np.tile(costs.space.features[layer], (n, 1))
        before = self.bits[:, self.layer - 1] if self.layer else np.full((n, 2), MAX_BITS)
        flash = costs.flash_bytes(self.bits) / costs.largest_flash_bytes
        left = self.world.budgets.left(costs, self.bits)
        masks = np.stack([choice_mask(feasible) for feasible in self._feasible])
        columns = [features, before / MAX_BITS, self._costs, flash[:, None], left]
        return np.concatenate([*columns, self.preferences, masks], axis=1).astype(np.float32)

    def step(self, actions: np.ndarray) -> np.ndarray:
        """Decides the next layer, and those tied to it, by actions (n, 2); returns the cost part of
        the rewards (n,)."""
        for i, (w, a) in enumerate(actions):
            pair = nearest_feasible(self._feasible[i], int(w), int(a))
            self.bits[i, self.world.costs.space.tied(self.layer)] = np.add(pair, MIN_BITS)
        before, self._costs = self._costs, self.world.scaled_costs(self.bits)
        # The first step also pays the floor that no policy goes below, so that the sum is exact.
        added = self._costs - (before if self.layer else 0.0)
        space = self.world.costs.space
        ahead = (layer for layer in space.decisions if layer > self.layer)
        self.layer = next(ahead, space.n_layers)
        if not self.done:
            self._feasible = self._find_feasible()
        self.parts = np.column_stack([np.zeros(len(added)), added])
        return self._rewards()

    def judge(self) -> np.ndarray:
        """The last part of the rewards, (n,); only when done."""
        self.parts = np.zeros_like(self.parts)
        for i, outcome in enumerate(self.world.judge(self.bits)):
            if outcome.ok:
                self.parts[i] = self._judged_parts(outcome, self._costs[i])
            else:
                self.penalty[i] = FAILURE_REWARD
        return self._rewards()

    def _judged_parts(self, outcome: Outcome, known: np.ndarray) -> tuple[float, float, float]:
        reference, cycles, sram = self.world.reference, 0.0, 0.0
        if outcome.cycles is not None:
            cycles = outcome.cycles / reference.cycles - known[0]
        if outcome.sram_bytes is not None:
            sram = outcome.sram_bytes / reference.sram_peak_bytes - known[1]
        return (1.0 - outcome.accuracy) / reference.error, cycles, sram

    def _rewards(self) -> np.ndarray:
        return self.penalty - (self.preferences * self.parts).sum(axis=1)

    def _find_feasible(self) -> np.ndarray:
        costs, budgets = self.world.costs, self.world.budgets
        if not budgets.any and not costs.space.restricted:
            return np.ones((len(self.bits), N_WIDTHS, N_WIDTHS), dtype=bool)
        return np.stack([feasible_choices(costs, budgets, b, self.layer) for b in self.bits])


class BitWidthEnv(gym.Env):
    """One episode chooses the widths of one policy; see the module's text.

    An environment is made empty, because its maker (RLlib) may copy what it is made from; `enter`
    gives it a world before the first real episode.
    """

    observation_space = gym.spaces.Box(-2.0, 4.0, (OBSERVATION_WIDTH,), np.float32)
    action_space = gym.spaces.MultiDiscrete([N_WIDTHS, N_WIDTHS])

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self._world: World | None = None
        self._episodes: Episodes | None = None

    def enter(self, world: World, seed: int) -> None:
        """Episodes from now on happen in `world`; their preferences are drawn from `seed`."""
        self._world = world
        super().reset(seed=seed)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts an episode; `options={"preference": (3,)}` sets its preference."""
        super().reset(seed=seed)
        if self._world is None:
            return np.zeros(OBSERVATION_WIDTH, np.float32), {}
        preference = (options or {}).get("preference")
        if preference is None:
            preference = draw_preference(self.np_random, 1)[0]
        self._episodes = Episodes(self._world, np.asarray(preference, dtype=np.float64)[None])
        return self._episodes.observe()[0], {}

    def step(self, action: np.ndarray):
        """One layer; the info of the last one holds `bits`, the policy of shape (L, 2)."""
        episodes = self._episodes
        if episodes is None:
            return np.zeros(OBSERVATION_WIDTH, np.float32), 0.0, True, False, {}
        reward = episodes.step(np.asarray(action)[None])[0]
        if not episodes.done:
            return episodes.observe()[0], float(reward), False, False, {}
        reward += episodes.judge()[0]
        info = {"bits": episodes.bits[0].copy()}
        return episodes.observe()[0], float(reward), True, False, info
