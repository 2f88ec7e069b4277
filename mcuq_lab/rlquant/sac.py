"""SAC by Ray RLlib, in its discrete form: policy and twin Q-networks over the 49 pairs of a layer.

Haarnoja et al. 2018; Christodoulou 2019 for discrete actions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from ray.rllib.algorithms.sac.sac import SACConfig
from ray.rllib.algorithms.sac.sac_learner import (
    ACTION_LOG_PROBS,
    ACTION_LOG_PROBS_NEXT,
    ACTION_PROBS,
    ACTION_PROBS_NEXT,
)
from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from mcuq_lab.rlquant.config import AgentConfig
from mcuq_lab.rlquant.masked_module import CLOSED_LOGIT
from mcuq_lab.rlquant.off_policy import OffPolicy, open_pairs


class MaskedSacModule(DefaultSACTorchRLModule):
    """RLlib's default networks; closed pairs have no probability, so that their values count
    nowhere."""

    def masked_logits(self, observations: torch.Tensor) -> torch.Tensor:
        """Logits of the policy, closed pairs at one that no softmax can see."""
        logits = self.pi(self.pi_encoder({Columns.OBS: observations})[ENCODER_OUT])
        return torch.where(open_pairs(observations), logits, CLOSED_LOGIT)

    def _forward_inference(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.masked_logits(batch[Columns.OBS])}

    def _forward_train_discrete(self, batch: dict[str, Any]) -> dict[str, Any]:
        output = super()._forward_train_discrete(batch)
        for column, probabilities, logarithms in (
            (Columns.OBS, ACTION_PROBS, ACTION_LOG_PROBS),
            (Columns.NEXT_OBS, ACTION_PROBS_NEXT, ACTION_LOG_PROBS_NEXT),
        ):
            # From the logits, not from the probabilities: the logarithm of 0 is not finite.
            output[logarithms] = F.log_softmax(self.masked_logits(batch[column]), dim=-1)
            output[probabilities] = output[logarithms].exp()
        return output


class Sac(OffPolicy):
    """A SAC agent; see `Algorithm`."""

    def __init__(self, config: AgentConfig, n_steps: int, seed: int) -> None:
        super().__init__(config, sac_config(config), seed)

    def logits(self, observations: np.ndarray) -> np.ndarray:
        """See `OffPolicy`: the policy's."""
        with torch.no_grad():
            return self.module.masked_logits(torch.from_numpy(observations)).double().numpy()

    def state(self) -> dict[str, Any]:
        """See `Algorithm`; RLlib's own state lacks the entropy's weight."""
        return super().state() | {"log_alpha": self._log_alpha.detach().numpy().copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Algorithm`."""
        super().restore(state)
        with torch.no_grad():
            self._log_alpha.copy_(torch.from_numpy(state["log_alpha"]))

    @property
    def _log_alpha(self) -> torch.Tensor:
        return self._learner.curr_log_alpha[DEFAULT_MODULE_ID]


def sac_config(config: AgentConfig) -> SACConfig:
    """RLlib's configuration."""
    model = DefaultModelConfig(
        fcnet_hiddens=[config.hidden_units] * 2,
        fcnet_activation="tanh",
        head_fcnet_hiddens=[],
    )
    return (
        SACConfig()
        .api_stack(enable_rl_module_and_learner=True, enable_env_runner_and_connector_v2=True)
        .env_runners(num_env_runners=0)
        .learners(num_learners=0)
        .training(
            train_batch_size_per_learner=config.minibatch_size,
            actor_lr=config.learning_rate,
            critic_lr=config.learning_rate,
            alpha_lr=config.learning_rate,
            gamma=1.0,
            n_step=1,
            tau=config.target_rate,
            initial_alpha=config.temperature,
            target_entropy=config.target_entropy_nats,
            grad_clip=10.0,
        )
        .rl_module(rl_module_spec=RLModuleSpec(module_class=MaskedSacModule, model_config=model))
    )
