"""The optimizer: SGD whose matrix-shaped updates are orthogonalised first (Muon).

A net of some 10^4..10^5 parameters is limited by how well it is fitted, not by overfitting, and an
orthogonalised update lets every direction of a filter bank learn at the same pace.
Source: K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
"""

import torch
from torch import Tensor, nn

# The odd polynomial of the Newton-Schulz iteration (Jordan et al. 2024): steep at zero, and it
# takes all singular values into [0.7, 1.2] within five steps.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """A (rows, columns) matrix with the same singular vectors and singular values near 1."""
    a, b, c = _COEFFICIENTS
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then an orthogonalised step for each dense filter bank.

    Filters of dense convolutions and the matrices of linear layers are seen as (oc, everything
    else). The rest, and depthwise filters, which have no matrix to speak of, take a plain Nesterov
    SGD step. Weight decay is decoupled for the former and an L2 gradient for the latter.
    filters, others: options of the two parameter groups, `decay` among them; the caller sets each
    group's `lr` before a step.
    """

    def __init__(
        self,
        module: nn.Module,
        filters: dict[str, float],
        others: dict[str, float],
        momentum: float,
    ) -> None:
        parameters = list(module.parameters())
        groups = [
            {"params": [p for p in parameters if _is_matrix(p)], "orthogonal": True, **filters},
            {"params": [p for p in parameters if not _is_matrix(p)], "orthogonal": False, **others},
        ]
        super().__init__([g for g in groups if g["params"]], {"momentum": momentum, "lr": 0.0})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                step = _orthogonal_step if group["orthogonal"] else _plain_step
                step(p, self.state[p], group)


def _is_matrix(p: Tensor) -> bool:
    depthwise = p.ndim == 4 and p.shape[1] == 1
    return p.ndim >= 2 and not depthwise


def _nesterov(p: Tensor, gradient: Tensor, state: dict, momentum: float) -> Tensor:
    if "momentum_buffer" not in state:
        state["momentum_buffer"] = torch.zeros_like(p)
    velocity = state["momentum_buffer"].mul_(momentum).add_(gradient)
    return gradient.add(velocity, alpha=momentum)


def _plain_step(p: Tensor, state: dict, group: dict) -> None:
    gradient = p.grad.add(p, alpha=group["decay"])
    p.sub_(_nesterov(p, gradient, state, group["momentum"]), alpha=group["lr"])


def _orthogonal_step(p: Tensor, state: dict, group: dict) -> None:
    update = _nesterov(p, p.grad, state, group["momentum"])
    matrix = orthogonalise(update.reshape(p.shape[0], -1))
    # Entries of root mean square 0.2 whatever the shape, so that one rate serves all banks.
    scale = 0.2 * max(matrix.shape) ** 0.5
    p.mul_(1 - group["lr"] * group["decay"])
    p.sub_(matrix.view_as(update), alpha=group["lr"] * scale)
