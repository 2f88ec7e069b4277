"""What the agent asks of a learning algorithm, whichever it is: PPO, DQN or SAC."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch

from mcuq_lab.rlquant.env import World


class Algorithm(Protocol):
    """Learns to choose widths in imagined episodes, conditioned on a preference.

    Made from `(config: AgentConfig, n_steps: int, seed: int)`. What it draws follows from that
    seed, the worlds entered with their seeds, and the generators handed in.
    """

    def enter(self, world: World, seed: int) -> None:
        """Episodes from now on happen in `world`; everything drawn follows from `seed`."""

    def train(self) -> float:
        """One iteration: imagines episodes and learns from them; returns their mean return."""

    def draw(self, observations: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Actions, int (n, 2), of the next layer for observations (n, OBSERVATION_WIDTH); both
        halves are open by the observation's mask."""

    def state(self) -> dict[str, Any]:
        """All that later iterations depend on; can be pickled."""

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""

    def stop(self) -> None:
        """Releases environments and learner."""


def seed_everything(seed: int) -> None:
    """Seeds every global generator that RLlib draws from."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: networks this small only lose by more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
