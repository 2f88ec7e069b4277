"""PPO by Ray RLlib, in this process: its learner and losses, our episodes and our masked network.

RLlib's `Algorithm` would start a Ray cluster (tens of seconds, hundreds of MB, processes that
outlive a kill) to do the same two calls; with a local learner no cluster is needed. Its environment
runner steps environments one by one, which takes twice as long as all learning; imagined episodes
are played side by side instead. This module imports ray.rllib, which takes seconds: import it late.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from mcuq_lab.rlquant.algorithm import one_thread, seed_everything
from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.env import BitWidthEnv, World, draw_preference
from mcuq_lab.rlquant.masked_module import MaskedPpoModule
from mcuq_lab.rlquant.replay import Played, play
from mcuq_lab.rlquant.space import N_WIDTHS


class Ppo:
    """A PPO agent in the world of `BitWidthEnv`; see `Algorithm`."""

    def __init__(self, config: AgentConfig, n_steps: int, seed: int) -> None:
        self._n_episodes = config.episodes_per_iteration
        self._config = ppo_config(config, n_steps)
        self._config.validate()
        seed_everything(seed)
        spaces = (BitWidthEnv.observation_space, BitWidthEnv.action_space)
        self._learner = self._config.build_learner(spaces={DEFAULT_MODULE_ID: spaces})
        self._steps = 0
        self._world: World | None = None
        self._rng = np.random.default_rng(seed)

    def enter(self, world: World, seed: int) -> None:
        """See `Algorithm`."""
        seed_everything(seed)
        self._rng = np.random.default_rng(seed)
        self._world = world

    def train(self) -> float:
        """See `Algorithm`: one pass of episodes side by side, then RLlib's epochs over them."""
        with one_thread():
            preferences = draw_preference(self._rng, self._n_episodes)
            played = play(self._world, preferences, lambda seen, _: self.draw(seen, self._rng))
            self._steps += played.actions.size
            self._learner.update(
                episodes=self._as_episodes(played),
                timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps},
                num_epochs=self._config.num_epochs,
                minibatch_size=self._config.minibatch_size,
                shuffle_batch_per_epoch=True,
            )
        return float(played.returns.mean())

    def draw(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `Algorithm`."""
        logits = self.logits(observations)
        # The largest of logits plus Gumbel noise is a draw from their softmax.
        drawn = logits + rng.gumbel(size=logits.shape)
        return drawn.reshape(-1, 2, N_WIDTHS).argmax(axis=-1)

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """Masked logits of both halves of the action, float64 (n, 14)."""
        batch = {Columns.OBS: torch.from_numpy(observations)}
        with torch.no_grad():
            output = self._learner.module[DEFAULT_MODULE_ID].forward_inference(batch)
        return output[Columns.ACTION_DIST_INPUTS].double().numpy()

    def state(self) -> dict[str, Any]:
        """See `Algorithm`: weights and optimizer, as RLlib gives them, and the steps so far."""
        return {"learner": self._learner.get_state(), "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Algorithm`."""
        self._learner.set_state(state["learner"])
        self._steps = state["steps"]

    def stop(self) -> None:
        """See `Algorithm`."""
        self._world = None

    def _as_episodes(self, played: Played) -> list[SingleAgentEpisode]:
        """Episodes as RLlib's learner takes them: with the logits that they were drawn from."""
        n, steps = played.actions.shape
        before = played.observations[:, :-1]
        logits = self.logits(before.reshape(n * steps, -1)).astype(np.float32)
        halves = torch.from_numpy(logits).reshape(n, steps, 2, N_WIDTHS).log_softmax(dim=-1)
        actions = np.stack(np.divmod(played.actions, N_WIDTHS), axis=-1)
        chosen = halves.gather(-1, torch.from_numpy(actions)[..., None]).sum(dim=(-2, -1)).numpy()
        logits, rewards = logits.reshape(n, steps, -1), played.rewards
        return [
            SingleAgentEpisode(
                observation_space=BitWidthEnv.observation_space,
                action_space=BitWidthEnv.action_space,
                observations=list(played.observations[i]),
                actions=list(actions[i]),
                rewards=list(rewards[i]),
                terminated=True,
                extra_model_outputs={
                    Columns.ACTION_DIST_INPUTS: list(logits[i]),
                    Columns.ACTION_LOGP: list(chosen[i]),
                },
                len_lookback_buffer=0,
            )
            for i in range(n)
        ]


def ppo_config(config: AgentConfig, n_steps: int) -> PPOConfig:
    """RLlib's configuration for episodes of `n_steps` steps."""
    batch_steps = config.episodes_per_iteration * n_steps
    model = DefaultModelConfig(
        fcnet_hiddens=[config.hidden_units] * 2, fcnet_activation="tanh", vf_share_layers=False
    )
    return (
        PPOConfig()
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .environment(BitWidthEnv)
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=batch_steps,
            minibatch_size=min(config.minibatch_size, batch_steps),
            num_epochs=config.epochs,
            lr=config.learning_rate,
            gamma=1.0,
            lambda_=0.95,
            entropy_coeff=config.entropy_coefficient,
            vf_clip_param=100.0,
            use_kl_loss=False,
            clip_param=0.2,
            grad_clip=0.5,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedPpoModule, model_config=model))
    )
