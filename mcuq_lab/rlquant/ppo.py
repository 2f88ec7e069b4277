"""PPO by Ray RLlib, in this process: its environment runner, its learner, our masked network.

RLlib's `Algorithm` would start a Ray cluster (tens of seconds, hundreds of MB, processes that
outlive a kill) to do the same two calls; with local runners and learners no cluster is needed.
This module imports ray.rllib, which takes seconds: import it late.
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
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from mcuq_lab.rlquant.algorithm import one_thread, seed_everything
from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.env import BitWidthEnv, World
from mcuq_lab.rlquant.masked_module import MaskedPpoModule
from mcuq_lab.rlquant.space import N_WIDTHS


class Ppo:
    """A PPO agent for `BitWidthEnv`; see `Algorithm`."""

    def __init__(self, config: AgentConfig, n_steps: int, seed: int) -> None:
        self._batch_steps = config.episodes_per_iteration * n_steps
        self._config = ppo_config(config, n_steps)
        self._config.validate()
        seed_everything(seed)
        self._runner = SingleAgentEnvRunner(config=self._config)
        self._learners = self._config.build_learner_group(spaces=self._runner.get_spaces())
        self._steps = 0
        self._hand_weights_to_runner()

    def enter(self, world: World, seed: int) -> None:
        """See `Algorithm`."""
        seed_everything(seed)
        for i, env in enumerate(self._runner.env.unwrapped.envs):
            env.unwrapped.enter(world, seed=seed + i)

    def train(self) -> float:
        """See `Algorithm`."""
        with one_thread():
            return self._train()

    def _train(self) -> float:
        episodes = []
        steps = 0
        while steps < self._batch_steps:
            sampled = self._runner.sample()
            steps += sum(map(len, sampled))
            episodes += sampled
        self._runner.get_metrics()  # else they pile up
        self._steps += steps
        self._learners.update(
            episodes=episodes,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps},
            num_epochs=self._config.num_epochs,
            minibatch_size=self._config.minibatch_size,
            shuffle_batch_per_epoch=True,
        )
        self._hand_weights_to_runner()
        return float(np.mean([episode.get_return() for episode in episodes]))

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
            output = self._runner.module.forward_inference(batch)
        return output[Columns.ACTION_DIST_INPUTS].double().numpy()

    def state(self) -> dict[str, Any]:
        """See `Algorithm`: weights and optimizer, as RLlib gives them, and the steps so far."""
        return {"learners": self._learners.get_state(), "steps": self._steps}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Algorithm`."""
        self._learners.set_state(state["learners"])
        self._steps = state["steps"]
        self._hand_weights_to_runner()

    def stop(self) -> None:
        """See `Algorithm`."""
        self._runner.stop()
        self._learners.shutdown()

    def _hand_weights_to_runner(self) -> None:
        self._runner.module.set_state(self._learners.get_weights()[DEFAULT_MODULE_ID])


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
        .env_runners(
            num_env_runners=0,
            num_envs_per_env_runner=config.parallel_envs,
            batch_mode="complete_episodes",
            rollout_fragment_length="auto",
        )
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
