"""What DQN and SAC have in common: whole policies in a replay, RLlib's learner, 49 actions.

Episodes are imagined side by side by `replay.play`, in this process; RLlib's part is the networks,
their losses and their optimizers, without a Ray cluster (see `ppo`). The action is the number of a
pair of widths, Discrete(49). This module imports ray.rllib, which takes seconds: import it late.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.algorithms.dqn.dqn import DQNConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from mcuq_lab.rlquant.algorithm import one_thread, seed_everything
from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.env import MASK_WIDTH, BitWidthEnv, World, draw_preference
from mcuq_lab.rlquant.replay import Replay, Transitions, play
from mcuq_lab.rlquant.space import N_WIDTHS

N_PAIRS = N_WIDTHS**2
ACTIONS = gym.spaces.Discrete(N_PAIRS)


class OffPolicy(ABC):
    """An `Algorithm` that learns from a replay.

    Args:
        rllib: RLlib's configuration of the algorithm.
    """

    def __init__(self, config: AgentConfig, rllib: DQNConfig, seed: int) -> None:
        rllib.validate()
        self._config = config
        seed_everything(seed)
        spaces = {DEFAULT_MODULE_ID: (BitWidthEnv.observation_space, ACTIONS)}
        self._learner = rllib.build_learner(spaces=spaces)
        self._replay = Replay(
            config.replay_episodes, config.bootstrap_steps, hindsight=config.hindsight
        )
        self._steps = 0
        self._world: World | None = None
        self._rng = np.random.default_rng(seed)

    @property
    def module(self):
        """The networks."""
        return self._learner.module[DEFAULT_MODULE_ID]

    @abstractmethod
    def logits(self, observations: np.ndarray) -> np.ndarray:
        """Masked logits of the 49 pairs, float64 (n, 49), whose softmax proposals are drawn
        from."""

    def enter(self, world: World, seed: int) -> None:
        """See `Algorithm`."""
        seed_everything(seed)
        self._rng = np.random.default_rng(seed)
        self._world = world
        self._replay.enter(world)

    def train(self) -> float:
        """See `Algorithm`: one pass of episodes side by side, then gradient steps on the replay."""
        config = self._config
        with one_thread():
            preferences = draw_preference(self._rng, config.episodes_per_iteration)
            played = play(self._world, preferences, lambda seen, _: self._explore(seen))
            self._replay.add(played)
            self._steps += played.actions.size
            for _ in range(config.updates_per_iteration):
                batch = self._replay.sample(config.minibatch_size, self._rng)
                self._learner.update(
                    batch=_as_batch(batch),
                    timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps},
                )
        return float(played.returns.mean())

    def draw(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `Algorithm`."""
        logits = self.logits(observations)
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        pairs = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        return np.column_stack(np.divmod(pairs, N_WIDTHS))

    def state(self) -> dict[str, Any]:
        """See `Algorithm`."""
        replay = self._replay.state()
        return {"learner": self._learner.get_state(), "steps": self._steps, "replay": replay}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Algorithm`."""
        self._learner.set_state(state["learner"])
        self._steps = state["steps"]
        self._replay.restore(state["replay"])

    def stop(self) -> None:
        """See `Algorithm`."""
        self._world = None

    def _explore(self, observations: np.ndarray) -> np.ndarray:
        """As `draw`, but now and then any open pair."""
        chosen = self.draw(observations, self._rng)
        masks = open_pairs(torch.from_numpy(observations)).numpy()
        anything = (masks * self._rng.random(masks.shape)).argmax(axis=1)
        at_random = self._rng.random(len(chosen)) < self._config.exploration
        any_pair = np.column_stack(np.divmod(anything, N_WIDTHS))
        return np.where(at_random[:, None], any_pair, chosen)


def open_pairs(observations: torch.Tensor) -> torch.Tensor:
    """Which pairs the masks of observations (..., OBSERVATION_WIDTH) leave open, bool (..., 49)."""
    mask = observations[..., -MASK_WIDTH:] > 0.5
    return (mask[..., :N_WIDTHS, None] & mask[..., None, N_WIDTHS:]).flatten(-2)


def _as_batch(transitions: Transitions) -> MultiAgentBatch:
    n = len(transitions.actions)
    batch = SampleBatch(
        {
            Columns.OBS: torch.from_numpy(transitions.observations),
            Columns.NEXT_OBS: torch.from_numpy(transitions.next_observations),
            Columns.ACTIONS: torch.from_numpy(transitions.actions),
            Columns.REWARDS: torch.from_numpy(transitions.rewards),
            Columns.TERMINATEDS: torch.from_numpy(transitions.ends),
            "weights": torch.ones(n),
            "n_step": torch.ones(n),  # nothing is discounted, so their number does not matter
        }
    )
    return MultiAgentBatch({DEFAULT_MODULE_ID: batch}, env_steps=n)
