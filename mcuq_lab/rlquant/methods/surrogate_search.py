"""The surrogate loop: fit what was measured, imagine, pick what promises most, measure.

RLQuant is this loop with the RL agent (and mutations of the front) as proposers, informed by what
each width does alone and by memory plans of policies that are never measured. `without_rl` is the
same without the agent, so that they differ in nothing else; the rivals `sa_mutation` and `sa_nsga2`
know their measurements, and the plans of those candidates among which they choose at last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mcuq_lab.results import ReferencePoint, Row, front_mask, objectives
from mcuq_lab.rlquant.env import Outcome, World
from mcuq_lab.rlquant.methods.anchors import anchors, stack, unseen
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.proposers import Proposer, Round, redraw_weights
from mcuq_lab.rlquant.selection import hypervolume_gains, pick_batch
from mcuq_lab.rlquant.sram_surrogate import SramSurrogate, measured_peaks
from mcuq_lab.rlquant.surrogate import AccuracySurrogate


class SurrogateSearch:
    """Anchors first, then rounds of `proposals.batch_size` policies.

    Args:
        proposers: who imagines candidates, one after the other.
        informed: the surrogate knows the problem's sensitivity, and fewer random anchors do; peaks
            of SRAM are learnt from memory plans, too, of scouts not least.
    """

    def __init__(
        self, problem: Problem, proposers: Sequence[Proposer], *, informed: bool = False
    ) -> None:
        self._problem = problem
        self._proposers = tuple(proposers)
        self._informed = informed
        # Few peaks differ in a restricted space: measured ones tell as much.
        self._plans = informed and not problem.space.restricted
        self._rounds = 0
        self._planned: dict[tuple, int] = {}

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        if self._rounds == 0 or not any(row.ok for row in rows):
            settings = self._problem.config.proposals
            return anchors(self._problem, settings.informed_anchors if self._informed else None)
        round_ = self._prepare(rows)
        pool = self._scouts(round_, rows)
        for proposer in self._proposers:
            found = stack(pool, self._problem.space.n_layers)
            candidates = self._problem.space.canonical(proposer.propose(round_, found))
            pool += [Proposal(bits, proposer.name) for bits in candidates]
        pool = unseen(pool, {row.policy for row in rows})
        if pool and self._problem.budgets.any:
            bits = stack(pool, self._problem.space.n_layers)
            kept = self._problem.budgets.keeps(round_.world.costs, bits)
            pool = [p for p, keep in zip(pool, kept, strict=True) if keep]
        return self._pick(pool, round_, rows) if pool else []

    def tell(self, results: Sequence[Row]) -> None:
        self._rounds += 1

    def state(self) -> object:
        return (self._rounds, self._planned, [proposer.state() for proposer in self._proposers])

    def restore(self, state: object) -> None:
        self._rounds, *planned, states = state
        self._planned = planned[0] if planned else {}  # earlier versions kept none
        for policy, plan in self._planned.items():
            self._problem.gauge.memory.remember(np.array(policy, dtype=np.int8), plan)
        for proposer, saved in zip(self._proposers, states, strict=True):
            proposer.restore(saved)

    def close(self) -> None:
        for proposer in self._proposers:
            proposer.close()

    def _prepare(self, rows: Sequence[Row]) -> Round:
        problem = self._problem
        costs = problem.gauge.costs(rows)
        sensitivity = problem.sensitivity() if self._informed else None
        surrogate = AccuracySurrogate(problem.space, rows, problem.config.seed, sensitivity)

        def judge(bits: np.ndarray) -> list[Outcome]:
            return [Outcome(ok=True, accuracy=float(guess)) for guess in surrogate.mean(bits)]

        kept = self._kept(rows)
        front = front_mask(objectives(kept))
        known = measured_peaks(rows)
        if self._planned and (rest := problem.gauge.memory.rest_bytes(rows)) is not None:
            known = {policy: plan + rest for policy, plan in self._planned.items()} | known
        return Round(
            number=self._rounds - 1,
            world=World(costs, problem.budgets, problem.reference, judge),
            surrogate=surrogate,
            sram=SramSurrogate(costs, known, problem.config.seed),
            front=np.array([row.policy for row in kept], dtype=np.int8)[front],
            rng=problem.rng(3, self._rounds),
        )

    def _scouts(self, round_: Round, rows: Sequence[Row]) -> list[Proposal]:
        """Policies of the front with weights' widths redrawn, planned: kernels need more or less
        scratch with each, which nobody guesses before plans have told it.

        More are drawn until as many as a batch holds promise a gain.
        """
        problem, settings = self._problem, self._problem.config.proposals
        n = settings.first_scouts if round_.number == 0 else settings.scouts
        if not self._plans or not n:
            return []
        rng, scouts = problem.rng(4, self._rounds), []
        for _ in range(settings.scoutings):
            drawn = redraw_weights(round_.front, n, rng)
            scouts += [Proposal(bits, "scout") for bits in problem.space.canonical(drawn)]
            self._learn(scouts[-n:])
            if self._promising(scouts, round_, rows) >= settings.batch_size:
                break
        return scouts

    def _promising(self, proposals: list[Proposal], round_: Round, rows: Sequence[Row]) -> int:
        """How many proposals would gain something by their plans, were accuracy as expected."""
        bits, reference = stack(proposals, self._problem.space.n_layers), self._problem.reference
        sram = self._problem.gauge.memory.peaks(bits, round_.sram.mean(bits), rows)
        costs = np.column_stack([round_.world.costs.cycles(bits), sram]) / reference.array[1:]
        errors = (1.0 - round_.surrogate.mean(bits)[None]) / reference.error
        gains = hypervolume_gains(self._front(rows) / reference.array, errors, costs)
        return int((gains > 0.0).sum())

    def _learn(self, proposals: Iterable[Proposal]) -> None:
        """Plans policies for the guesses of later rounds."""
        for proposal in proposals:
            plan = self._problem.gauge.memory.plan(proposal.bits)
            if plan is not None:
                self._planned[proposal.key] = plan

    def _pick(self, pool: list[Proposal], round_: Round, rows: Sequence[Row]) -> list[Proposal]:
        """The batch with the largest expected gain: a shortlist by estimated memory, then the
        choice by planned memory, the first proposer's share of it before the rest."""
        settings, reference = self._problem.config.proposals, self._problem.reference
        bits = stack(pool, self._problem.space.n_layers)
        errors = 1.0 - round_.surrogate.samples(bits, settings.draws, round_.rng)
        costs = round_.world.costs
        costs = np.column_stack([costs.cycles(bits), round_.sram.mean(bits)])
        front = self._front(rows)
        own = np.flatnonzero([p.origin == self._proposers[0].name for p in pool])
        share = math.ceil(settings.batch_size * settings.agent_share)
        every = np.arange(len(pool))
        short = _best(front, errors, costs, reference, own, 4 * share)
        short = np.union1d(short, _best(front, errors, costs, reference, every, settings.shortlist))
        if self._plans:
            self._learn([pool[i] for i in short])
        costs[short, 1] = self._problem.gauge.memory.peaks(bits[short], costs[short, 1], rows)
        limit = self._problem.budgets.sram_bytes
        if limit is not None:
            short = short[costs[short, 1] <= limit]
        while True:
            picked = self._pick_from(short, own, front, errors, costs)
            broken = [i for i in picked if not self._keeps(pool[i], round_, rows)]
            if not broken:
                return [pool[i] for i in picked]
            short = np.setdiff1d(short, broken)

    def _pick_from(
        self,
        short: np.ndarray,
        own: np.ndarray,
        front: np.ndarray,
        errors: np.ndarray,
        costs: np.ndarray,
    ) -> list[int]:
        """The batch among candidates `short`: the share of the first proposer's `own`, the rest."""
        settings, reference = self._problem.config.proposals, self._problem.reference
        share = math.ceil(settings.batch_size * settings.agent_share)
        picked = _best(front, errors, costs, reference, np.intersect1d(short, own), share)
        expected = np.column_stack([errors[:, picked].mean(axis=0), costs[picked]])
        front = np.vstack([front, expected])
        rest = np.setdiff1d(short, picked)
        missing = settings.batch_size - len(picked)
        more = _best(front[front_mask(front)], errors, costs, reference, rest, missing)
        return [*picked, *more]

    def _keeps(self, proposal: Proposal, round_: Round, rows: Sequence[Row]) -> bool:
        return self._problem.gauge.keeps(round_.world.costs, proposal.bits, rows)

    def _front(self, rows: Sequence[Row]) -> np.ndarray:
        """Objectives of the rows that count and that nobody dominates, (f, 3)."""
        points = objectives(self._kept(rows))
        return points[front_mask(points)]

    def _kept(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that count: successful and within the budgets."""
        kept = self._problem.budgets.kept_by(rows)
        return [row for row, keeps in zip(rows, kept, strict=True) if keeps]


def _best(
    front: np.ndarray,
    errors: np.ndarray,
    costs: np.ndarray,
    reference: ReferencePoint,
    among: np.ndarray,
    n: int,
) -> np.ndarray:
    """As `pick_batch`, from the candidates `among`; integer indices into all of them."""
    chosen = pick_batch(front, errors[:, among], costs[among], reference, n)
    return among[np.array(chosen, dtype=np.intp)]
