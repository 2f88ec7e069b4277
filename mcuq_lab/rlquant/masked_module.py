"""PPO's network with an action mask.

The environment appends the 14-wide mask to its observation; closed choices get a logit that no
softmax can see, in sampling and in training alike. (Imported only where Ray runs.)
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns

from mcuq_lab.rlquant.env import MASK_WIDTH

CLOSED_LOGIT = -1e9


class MaskedPpoModule(DefaultPPOTorchRLModule):
    """RLlib's default PPO network; the last `MASK_WIDTH` observations mask its logits."""

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return _mask(super()._forward(batch, **kwargs), batch)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return _mask(super()._forward_train(batch, **kwargs), batch)


def _mask(output: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    closed = batch[Columns.OBS][..., -MASK_WIDTH:] < 0.5
    logits = output[Columns.ACTION_DIST_INPUTS]
    output[Columns.ACTION_DIST_INPUTS] = torch.where(closed, CLOSED_LOGIT, logits)
    return output
