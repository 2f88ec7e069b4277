"""The policies that a search measures before it has learnt anything."""

from __future__ import annotations

import numpy as np

from mcuq_lab.policy import Policy
from mcuq_lab.rlquant.budgets import draw_within
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.space import to_bits


def anchors(problem: Problem, n_random: int | None = None) -> list[Proposal]:
    """Uniform policies, then random ones, which follow the seed: the same for every method, but
    for the number of random ones, `proposals.random_anchors` unless given.

    Under hard budgets random policies that keep them stand in for uniform ones that do not, by
    what the first rows teach.
    """
    proposals, gauge, rows = problem.config.proposals, problem.gauge, problem.first_rows
    texts = proposals.uniform_anchors
    uniform = to_bits([Policy.parse(text, problem.space.n_layers) for text in texts])
    uniform = problem.space.canonical(uniform)
    costs = gauge.costs(rows)
    kept = gauge.first_within(costs, uniform, len(uniform), rows)
    n_random = proposals.random_anchors if n_random is None else n_random
    missing = n_random + len(uniform) - len(kept)
    drawn = draw_within(costs, gauge.budgets, problem.rng(0), missing)
    if gauge.budgets.any:
        drawn = [gauge.bring_within(costs, bits, rows) for bits in drawn]
    return [Proposal(bits, "anchor") for bits in (*kept, *drawn)]


def unseen(proposals: list[Proposal], seen: set) -> list[Proposal]:
    """The proposals whose policies are neither in `seen` nor earlier in the list."""
    fresh: dict = {}
    for proposal in proposals:
        if proposal.key not in seen:
            fresh.setdefault(proposal.key, proposal)
    return list(fresh.values())


def stack(proposals: list[Proposal], n_layers: int) -> np.ndarray:
    """Bits of proposals, (n, L, 2)."""
    return np.array([p.bits for p in proposals], dtype=np.int8).reshape(-1, n_layers, 2)
