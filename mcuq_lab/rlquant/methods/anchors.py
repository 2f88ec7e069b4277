"""The policies that a search measures before it has learnt anything."""

from __future__ import annotations

import numpy as np

from mcuq_lab.policy import Policy
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.space import to_bits


def anchors(problem: Problem) -> list[Proposal]:
    """Uniform policies, then random ones: the same for every method; the random ones follow the
    seed. Hard budgets do not matter here: costs are learnt from anchors outside them, too."""
    proposals, n_layers = problem.config.proposals, problem.space.n_layers
    uniform = [
        Proposal(to_bits([Policy.parse(text, n_layers)])[0], "anchor")
        for text in proposals.uniform_anchors
    ]
    drawn = problem.space.random(problem.rng(0), proposals.random_anchors)
    return uniform + [Proposal(bits, "anchor") for bits in drawn]


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
