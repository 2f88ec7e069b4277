"""The RL agent of the upper level: learns on imagined episodes, conditioned on a preference.

One agent learns the whole front: each imagined episode draws a preference over (error, cycles,
SRAM), and after training the agent proposes policies for preferences drawn anew.
"""

from __future__ import annotations

import logging
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.env import Episodes, draw_preference
from mcuq_lab.rlquant.proposers import Round

if TYPE_CHECKING:
    from mcuq_lab.rlquant.algorithm import Algorithm

_CLASSES = {"ppo": "Ppo", "dqn": "Dqn", "sac": "Sac"}
"""Name of each algorithm's class, in the module of the algorithm's name."""

log = logging.getLogger("mcuq.rlquant")


class Agent:
    """A proposer that learns on imagined episodes.

    RLlib is imported in the background while the first policies are measured.

    Args:
        config: size and pace of the training.
        n_steps: steps of an episode.
        seed: of everything drawn; two agents of one seed and one history are alike.
    """

    name = "agent"

    def __init__(self, config: AgentConfig, n_steps: int, seed: int) -> None:
        self._config, self._n_steps, self._seed = config, n_steps, seed
        self._importer = ThreadPoolExecutor(1, thread_name_prefix="import-rllib")
        self._imported: Future = self._importer.submit(_import, config.algorithm)
        self._algorithm: Algorithm | None = None

    def propose(self, round_: Round, found: np.ndarray) -> np.ndarray:
        """Trains in the round's world, then rolls out; (rollouts, L, 2).

        Raises:
            ConfigError: RLlib cannot be imported.
        """
        algorithm = self._get_algorithm()
        algorithm.enter(round_.world, seed=int(round_.rng.integers(2**31)))
        first = round_.number == 0
        iterations = self._config.first_iterations if first else self._config.iterations
        returns = [algorithm.train() for _ in range(iterations)]
        if returns:
            log.info("agent: mean imagined return %.4f -> %.4f", returns[0], returns[-1])
        return self._roll_out(algorithm, round_)

    def state(self) -> object:
        """What the algorithm learnt; None while that is nothing."""
        return None if self._algorithm is None else self._algorithm.state()

    def restore(self, state: object) -> None:
        if state is not None:
            self._get_algorithm().restore(state)

    def close(self) -> None:
        if self._algorithm is not None:
            self._algorithm.stop()
        self._importer.shutdown(wait=True)

    def _get_algorithm(self) -> Algorithm:
        if self._algorithm is None:
            self._imported.result()
            self._algorithm = make_algorithm(self._config, self._n_steps, self._seed)
        return self._algorithm

    def _roll_out(self, algorithm: Algorithm, round_: Round) -> np.ndarray:
        """Episodes under fresh preferences, actions drawn from the agent's distribution."""
        episodes = Episodes(round_.world, draw_preference(round_.rng, self._config.rollouts))
        while not episodes.done:
            episodes.step(algorithm.draw(episodes.observe(), round_.rng))
        return episodes.bits


def make_algorithm(config: AgentConfig, n_steps: int, seed: int) -> Algorithm:
    """The algorithm that `config` names, for episodes of `n_steps` steps.

    Raises:
        ConfigError: RLlib cannot be imported.
    """
    return getattr(_import(config.algorithm), _CLASSES[config.algorithm])(config, n_steps, seed)


def _import(algorithm: str) -> ModuleType:
    warnings.filterwarnings("ignore", module=r"gymnasium\..*|ray\..*")
    try:
        module = import_module(f"mcuq_lab.rlquant.{algorithm}")
        # Importing Ray sets its own level; its warnings are about its defaults, not about ours.
        for name in ("ray", "ray.rllib"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return module
    except ImportError as error:
        raise ConfigError(
            f"The RL agent needs Ray RLlib, which cannot be imported ({error}); install "
            "'ray[rllib]', or choose a method without RL, for example sa_mutation."
        ) from error
