"""The RL agent of the upper level: PPO of Ray RLlib, conditioned on a preference.

One agent learns the whole front: each imagined episode draws a preference over (error, cycles,
SRAM), and after training the agent proposes policies for preferences drawn anew.

Ray starts in a thread of its own while the first policies are measured, and everything that touches
it runs there: Ray ties the life of its processes to the thread that started them, so that they end
with the search, even after kill -9.
"""

from __future__ import annotations

import logging
import os
import random
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.env import BitWidthEnv, Episodes, draw_preference
from mcuq_lab.rlquant.proposers import Round
from mcuq_lab.rlquant.space import N_WIDTHS

if TYPE_CHECKING:
    from ray.rllib.algorithms import Algorithm

_OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Nearly the least that Ray takes: with local runners and learners nothing big goes through it."""


class Agent:
    """A proposer that learns on imagined episodes.

    Args:
        config: size and pace of the training.
        n_layers: steps of an episode.
        seed: of everything drawn; two agents of one seed and one history are alike.
    """

    name = "agent"

    def __init__(self, config: AgentConfig, n_layers: int, seed: int) -> None:
        self._config, self._n_layers, self._seed = config, n_layers, seed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ray")
        self._algorithm: Future[Algorithm] = self._thread.submit(self._build)
        self.mean_return = float("nan")
        """Mean return of the last batch of imagined episodes."""

    def propose(self, round_: Round) -> np.ndarray:
        """Trains in the round's world, then rolls out; (rollouts, L, 2)."""
        return self._thread.submit(self._train_and_roll_out, round_).result()

    def state(self) -> object:
        """Weights and optimizer, as RLlib gives them; None while nothing was learnt."""
        return self._thread.submit(self._get_state).result() if self._algorithm.done() else None

    def restore(self, state: object) -> None:
        if state is not None:
            self._thread.submit(self._set_state, state).result()

    def close(self) -> None:
        """Ends RLlib and Ray."""
        self._thread.submit(self._stop).result()
        self._thread.shutdown()

    def _build(self) -> Algorithm:
        _start_ray()
        _seed_everything(self._seed)
        return _ppo_config(self._config, self._n_layers).build_algo()

    def _train_and_roll_out(self, round_: Round) -> np.ndarray:
        algorithm = self._algorithm.result()
        seed = int(round_.rng.integers(2**31))
        _seed_everything(seed)
        for i, env in enumerate(algorithm.env_runner.env.unwrapped.envs):
            env.unwrapped.enter(round_.world, seed=seed + i)
        first = round_.number == 0
        for _ in range(self._config.first_iterations if first else self._config.iterations):
            result = algorithm.train()
            self.mean_return = result["env_runners"]["episode_return_mean"]
        return self._roll_out(algorithm, round_)

    def _roll_out(self, algorithm: Algorithm, round_: Round) -> np.ndarray:
        """Episodes under fresh preferences, actions drawn from the agent's distribution."""
        import torch

        preferences = draw_preference(round_.rng, self._config.rollouts)
        episodes = Episodes(round_.world, preferences)
        module = algorithm.get_module()
        while not episodes.done:
            observation = torch.from_numpy(episodes.observe())
            with torch.no_grad():
                output = module.forward_inference({"obs": observation})
            logits = output["action_dist_inputs"].double().numpy()
            drawn = logits + round_.rng.gumbel(size=logits.shape)
            halves = drawn.reshape(len(drawn), 2, N_WIDTHS)
            episodes.step(halves.argmax(axis=-1))
        return episodes.bits

    def _get_state(self) -> dict[str, Any]:
        return self._algorithm.result().get_state()

    def _set_state(self, state: Any) -> None:
        self._algorithm.result().set_state(state)

    def _stop(self) -> None:
        import ray

        self._algorithm.result().stop()
        ray.shutdown()


def _start_ray() -> None:
    """A local Ray with nothing that a search of one process does not need."""
    # A token file in the home directory would otherwise switch authentication on, and fail.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if not ray.is_initialized():
        ray.init(
            address="local",
            num_cpus=1,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )


def _ppo_config(config: AgentConfig, n_layers: int):
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    from mcuq_lab.rlquant.masked_module import MaskedPpoModule

    batch_steps = config.episodes_per_iteration * n_layers
    model = DefaultModelConfig(
        fcnet_hiddens=[config.hidden_units] * 2, fcnet_activation="tanh", vf_share_layers=False
    )
    return (
        PPOConfig()
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
        .debugging(log_level="ERROR")
    )


def _seed_everything(seed: int) -> None:
    """Every generator that RLlib draws from; a round starts from its own seed, not from history."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
