"""DQN by Ray RLlib: double Q-learning with a dueling network over the 49 pairs of a layer.

Mnih et al. 2015; van Hasselt et al. 2016; Wang et al. 2016. Proposals are drawn from the softmax of
the values, at a temperature: the largest value alone would be one policy a preference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from ray.rllib.algorithms.dqn.dqn import DQNConfig
from ray.rllib.algorithms.dqn.torch.default_dqn_torch_rl_module import (
    QF_PREDS,
    DefaultDQNTorchRLModule,
)
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.masked_module import CLOSED_LOGIT
from mcuq_lab.rlquant.off_policy import OffPolicy, open_pairs


class MaskedDqnModule(DefaultDQNTorchRLModule):
    """RLlib's default network; closed pairs have a value that is never the largest."""

    def _qf_forward_helper(self, batch: dict[str, Any], encoder, head) -> dict[str, Any]:
        output = super()._qf_forward_helper(batch, encoder, head)
        opened = open_pairs(batch[Columns.OBS])
        output[QF_PREDS] = torch.where(opened, output[QF_PREDS], CLOSED_LOGIT)
        return output


class Dqn(OffPolicy):
    """A DQN agent; see `Algorithm`."""

    def __init__(self, config: AgentConfig, n_steps: int, seed: int) -> None:
        super().__init__(config, dqn_config(config), seed)

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """See `OffPolicy`: values over the temperature."""
        batch = {Columns.OBS: torch.from_numpy(observations)}
        with torch.no_grad():
            values = self.module.compute_q_values(batch)[QF_PREDS].double()
        # The best is subtracted first: closed pairs stay closed at any temperature.
        values -= values.max(dim=1, keepdim=True).values
        return (values / self._config.temperature).numpy()


def dqn_config(config: AgentConfig) -> DQNConfig:
    """RLlib's configuration."""
    model = DefaultModelConfig(
        fcnet_hiddens=[config.hidden_units] * 2,
        fcnet_activation="tanh",
        head_fcnet_hiddens=[],
    )
    return (
        DQNConfig()
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=config.minibatch_size,
            lr=config.learning_rate,
            gamma=1.0,
            double_q=True,
            dueling=True,
            n_step=1,
            # After each gradient step, a little: no schedule that a restart would have to know.
            target_network_update_freq=0,
            tau=config.target_rate,
            grad_clip=10.0,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedDqnModule, model_config=model))
    )
