"""Replay of imagined episodes for the algorithms that learn off-policy, with hindsight.

What is kept of an episode is its policy. Its transitions are worked out in the present world, and
again in the next: a later surrogate knows better what a policy is worth. What a step adds to each
objective does not depend on the preference, so with hindsight a transition is handed out under a
preference drawn anew each time, and one episode teaches all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

from mcuq_lab.policy import MIN_BITS
from mcuq_lab.rlquant.env import PREFERENCE, Episodes, World, draw_preference
from mcuq_lab.rlquant.space import N_WIDTHS


@dataclass(frozen=True, eq=False)
class Played:
    """Whole episodes, n of S steps over L layers.

    Attributes:
        bits: policies, int8 (n, L, 2).
        preferences: under which they were played, (n, 3).
        observations: before each step and after the last, float32 (n, S + 1, OBSERVATION_WIDTH).
        actions: what was done, numbers of pairs, int64 (n, S).
        totals: added to each objective before each step, and by all of them, (n, S + 1, 3).
        penalties: paid at the end, (n,).
    """

    bits: np.ndarray
    preferences: np.ndarray
    observations: np.ndarray
    actions: np.ndarray
    totals: np.ndarray
    penalties: np.ndarray

    @property
    def returns(self) -> np.ndarray:
        """Sum of each episode's rewards, (n,)."""
        return self.penalties - (self.preferences * self.totals[:, -1]).sum(axis=1)

    @property
    def rewards(self) -> np.ndarray:
        """Of each step, (n, S)."""
        added = np.diff(self.totals, axis=1)
        rewards = -(self.preferences[:, None] * added).sum(axis=2)
        rewards[:, -1] += self.penalties
        return rewards

    def then(self, later: Played, most: int) -> Played:
        """These episodes and `later` ones, the last `most` of them."""
        pairs = ((getattr(self, f.name), getattr(later, f.name)) for f in fields(Played))
        return Played(*(np.concatenate(pair)[-most:] for pair in pairs))


@dataclass(frozen=True, eq=False)
class Transitions:
    """A batch of n transitions, each over some steps.

    Attributes:
        observations, next_observations: before and after, of one preference, float32
            (n, OBSERVATION_WIDTH).
        actions: numbers of the pairs of the first steps, int64 (n,).
        rewards: of all steps, float32 (n,).
        ends: whether the episode ended, bool (n,).
    """

    observations: np.ndarray
    next_observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    ends: np.ndarray


Choose = Callable[[np.ndarray, int], np.ndarray]
"""Actions (n, 2) for observations (n, OBSERVATION_WIDTH) of a layer."""


def play(world: World, preferences: np.ndarray, choose: Choose) -> Played:
    """Plays one episode for each preference (n, 3), side by side."""
    episodes = Episodes(world, preferences)
    observations, totals = [episodes.observe()], [np.zeros(preferences.shape)]
    while not episodes.done:
        episodes.step(choose(observations[-1], episodes.layer))
        totals.append(totals[-1] + episodes.parts)
        observations.append(episodes.observe())
    episodes.judge()
    totals[-1] += episodes.parts
    decisions = list(world.costs.space.decisions)
    pairs = episodes.bits[:, decisions].astype(np.int64) - MIN_BITS
    return Played(
        bits=episodes.bits,
        preferences=preferences,
        observations=np.stack(observations, axis=1),
        # What was done need not be what was asked for: a pair may be closed though its halves are
        # open.
        actions=pairs[..., 0] * N_WIDTHS + pairs[..., 1],
        totals=np.stack(totals, axis=1),
        penalties=episodes.penalty.copy(),
    )


class Replay:
    """The last `capacity` episodes.

    Args:
        steps: that a transition goes over, fewer at an episode's end.
        hindsight: hand out transitions under preferences drawn anew, not under the episode's own.
    """

    def __init__(self, capacity: int, steps: int, *, hindsight: bool) -> None:
        self._capacity, self._steps, self._hindsight = capacity, steps, hindsight
        self._kept: tuple[np.ndarray, np.ndarray] | None = None
        self._played: Played | None = None

    def enter(self, world: World) -> None:
        """Works out the episodes so far in another world."""
        if self._kept is not None:
            bits, preferences = self._kept
            self._played = play(world, preferences, lambda _, layer: bits[:, layer] - MIN_BITS)

    def add(self, played: Played) -> None:
        """Takes episodes of the present world."""
        before = self._played
        self._played = played if before is None else before.then(played, self._capacity)
        self._kept = self._played.bits, self._played.preferences

    def sample(self, n: int, rng: np.random.Generator) -> Transitions:
        """`n` transitions, as likely to begin at any step of any episode as at any other."""
        played = self._played
        n_steps = played.actions.shape[1]
        episode = rng.integers(len(played.bits), size=n)
        first = rng.integers(n_steps, size=n)
        last = np.minimum(first + self._steps, n_steps)
        preference = played.preferences[episode]
        before, after = played.observations[episode, first], played.observations[episode, last]
        if self._hindsight:
            preference = draw_preference(rng, n)
            before[:, PREFERENCE] = after[:, PREFERENCE] = preference
        ends = last == n_steps
        added = played.totals[episode, last] - played.totals[episode, first]
        rewards = np.where(ends, played.penalties[episode], 0.0) - (preference * added).sum(axis=1)
        actions = played.actions[episode, first]
        return Transitions(before, after, actions, rewards.astype(np.float32), ends)

    def state(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Policies and preferences; `enter` works out the rest."""
        return self._kept

    def restore(self, state: tuple[np.ndarray, np.ndarray] | None) -> None:
        """Takes back what `state` gave; `enter` a world before anything else."""
        self._kept, self._played = state, None
