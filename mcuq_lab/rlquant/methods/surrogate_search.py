"""The surrogate loop: fit what was measured, imagine, pick what promises most, measure.

RLQuant is this loop with the RL agent (and mutations of the front) as proposers, informed by what
each width does alone and by plans of policies that are never measured. `without_rl` is the same
without the agent, so that they differ in nothing else; the rivals `sa_mutation` and `sa_nsga2` know
their measurements, and the plans of those candidates among which they choose at last.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from mcuq_lab.results import ReferencePoint, Row, front_mask, hypervolume, objectives
from mcuq_lab.rlquant.cost_surrogate import CostSurrogate, measured_peaks
from mcuq_lab.rlquant.costs import Costs
from mcuq_lab.rlquant.env import Outcome, World
from mcuq_lab.rlquant.methods.anchors import anchors, stack, unseen
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.planned import Planned
from mcuq_lab.rlquant.proposers import Proposer, Round, narrow_tensors, redraw_weights
from mcuq_lab.rlquant.selection import pick_batch
from mcuq_lab.rlquant.surrogate import AccuracySurrogate

_LEAST_GAIN = 1e-4
"""A plan that would add less than this part of the hypervolume promises nothing."""


class SurrogateSearch:
    """Anchors first, then rounds of `proposals.batch_size` policies.

    Args:
        proposers: who imagines candidates, one after the other; the last one imagines scouts, too.
        informed: the surrogate knows the problem's sensitivity, and fewer random anchors do; costs
            are learnt from plans, too, of scouts not least.
    """

    def __init__(
        self, problem: Problem, proposers: Sequence[Proposer], *, informed: bool = False
    ) -> None:
        self._problem = problem
        self._proposers = tuple(proposers)
        self._informed = informed
        # Few costs differ in a restricted space: measured ones tell as much.
        self._plans = informed and not problem.space.restricted
        self._rounds = 0
        self._planned: dict[tuple, Planned] = {}

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        if self._rounds == 0 or not any(row.ok for row in rows):
            settings = self._problem.config.proposals
            return anchors(self._problem, settings.informed_anchors if self._informed else None)
        round_ = self._prepare(rows)
        if self._plans:
            round_ = self._explore(round_, rows)
        pool = self._scouts()
        for proposer in self._proposers:
            found = stack(pool, self._problem.space.n_layers)
            candidates = self._problem.space.canonical(proposer.propose(round_, found))
            pool += [Proposal(bits, proposer.name) for bits in candidates]
        pool = self._fresh(pool, round_, rows)
        return self._pick(pool, round_, rows) if pool else []

    def tell(self, results: Sequence[Row]) -> None:
        self._rounds += 1

    def state(self) -> object:
        return (self._rounds, self._planned, [proposer.state() for proposer in self._proposers])

    def restore(self, state: object) -> None:
        self._rounds, *planned, states = state
        if planned:  # the first versions kept none, later ones the planned memory alone
            self._planned = {
                policy: plan if isinstance(plan, Planned) else Planned(plan)
                for policy, plan in planned[0].items()
            }
        for policy, plan in self._planned.items():
            self._problem.gauge.plans.remember(np.array(policy, dtype=np.int8), plan)
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

        kept_by = problem.budgets.kept_by(rows)
        kept = [row for row, keeps in zip(rows, kept_by, strict=True) if keeps]
        points = objectives(kept)
        front = front_mask(points)
        return Round(
            number=self._rounds - 1,
            world=World(costs, problem.budgets, problem.reference, judge),
            surrogate=surrogate,
            guess=self._guess(costs, rows),
            front=np.array([row.policy for row in kept], dtype=np.int8)[front],
            front_points=points[front],
            rng=problem.rng(3, self._rounds),
        )

    def _guess(self, costs: Costs, rows: Sequence[Row]) -> CostSurrogate:
        """What costs are to be expected, as rows and all plans teach it."""
        cycles, peaks = {}, measured_peaks(rows)
        scale = self._problem.gauge.plans.scale(rows) if self._planned else None
        if scale is not None:
            peaks = {key: scale.sram_bytes(plan) for key, plan in self._planned.items()} | peaks
            found = {key: scale.cycles(plan) for key, plan in self._planned.items()}
            cycles = {key: n for key, n in found.items() if n is not None}
        return CostSurrogate(costs, cycles, peaks, self._problem.config.seed)

    def _explore(self, round_: Round, rows: Sequence[Row]) -> Round:
        """Plans scouts, policies that may never be measured, until as many as a batch holds promise
        gains; the round with guesses that know all plans.

        Some are policies of the front with weights' widths redrawn: kernels need more or less
        scratch with each, which nobody guesses before plans have told it. Some, in the first round
        alone, have narrow tensors. Others are those that promise most by what is known so far,
        whether they hold it or not.
        """
        problem, settings = self._problem, self._problem.config.proposals
        n = settings.first_scouts if round_.number == 0 else settings.scouts
        rng = problem.rng(4, self._rounds)
        for scouting in range(settings.scoutings if n else 0):
            drawn = redraw_weights(round_.front, n, rng)
            if round_.number == scouting == 0:
                narrow = narrow_tensors(problem.space, settings.narrow_scouts, rng)
                drawn = np.concatenate([drawn, narrow])
            drawn = problem.space.canonical(drawn)
            self._learn(Proposal(bits, "scout") for bits in drawn)
            if not self._planned:  # the evaluator has no plans
                break
            round_ = replace(round_, guess=self._guess(round_.world.costs, rows))
            self._learn(self._most_promising(round_, rows, n))
            if self._n_gains(round_, rows) >= settings.batch_size:
                break
        return replace(round_, guess=self._guess(round_.world.costs, rows))

    def _most_promising(self, round_: Round, rows: Sequence[Row], n: int) -> list[Proposal]:
        """Of the last proposer's candidates those without a plan that promise most."""
        space = self._problem.space
        scouts = stack(self._scouts(), space.n_layers)
        scouts = scouts[front_mask(round_.imagined(scouts))]
        children = space.canonical(self._proposers[-1].propose(round_, scouts))
        pool = self._fresh([Proposal(bits, "scout") for bits in children], round_, rows)
        pool = unseen(pool, set(self._planned))
        if not pool:
            return []
        points = round_.imagined(stack(pool, space.n_layers)) * self._problem.reference.array
        return [pool[i] for i in self._best_of(points, round_, n)]

    def _n_gains(self, round_: Round, rows: Sequence[Row]) -> int:
        """How many of a batch of scouts would each add something to the hypervolume."""
        pool = self._fresh(self._scouts(), round_, rows)
        if not pool:
            return 0
        problem, known = self._problem, round_.world.costs
        bits = stack(pool, problem.space.n_layers)
        estimates = np.column_stack([known.cycles(bits), known.sram_bytes(bits)])
        costs = problem.gauge.plans.costs(bits, estimates, rows)
        points = np.column_stack([1.0 - round_.surrogate.mean(bits), costs])
        best = self._best_of(points, round_, problem.config.proposals.batch_size)
        volumes = [
            hypervolume(np.vstack([round_.front_points, points[best[:n]]]), problem.reference)
            for n in range(len(best) + 1)
        ]
        return int((np.diff(volumes) > _LEAST_GAIN * volumes[0]).sum())

    def _best_of(self, points: np.ndarray, round_: Round, n: int) -> list[int]:
        """The best `n` were all as expected, objectives (m, 3): their numbers."""
        front, reference = round_.front_points, self._problem.reference
        return pick_batch(front, points[None, :, 0], points[:, 1:], reference, n)

    def _scouts(self) -> list[Proposal]:
        """All that have a plan."""
        policies = np.array(list(self._planned), dtype=np.int8)
        return [Proposal(bits, "scout") for bits in policies]

    def _fresh(self, pool: list[Proposal], round_: Round, rows: Sequence[Row]) -> list[Proposal]:
        """Each policy once that is not measured and keeps the budgets by estimates."""
        pool = unseen(pool, {row.policy for row in rows})
        if not pool or not self._problem.budgets.any:
            return pool
        bits = stack(pool, self._problem.space.n_layers)
        kept = self._problem.budgets.keeps(round_.world.costs, bits)
        return [p for p, keep in zip(pool, kept, strict=True) if keep]

    def _learn(self, proposals: Iterable[Proposal]) -> None:
        """Plans policies for the guesses of later rounds."""
        for proposal in proposals:
            plan = self._problem.gauge.plans.plan(proposal.bits)
            if plan is not None:
                self._planned[proposal.key] = plan

    def _pick(self, pool: list[Proposal], round_: Round, rows: Sequence[Row]) -> list[Proposal]:
        """The batch with the largest expected gain: a shortlist by guessed costs, then the choice
        by planned ones, the first proposer's share of it before the rest."""
        settings, reference = self._problem.config.proposals, self._problem.reference
        bits = stack(pool, self._problem.space.n_layers)
        errors = 1.0 - round_.surrogate.samples(bits, settings.draws, round_.rng)
        costs = round_.guess.both(bits)
        front = round_.front_points
        own = np.flatnonzero([p.origin == self._proposers[0].name for p in pool])
        share = math.ceil(settings.batch_size * settings.agent_share)
        every = np.arange(len(pool))
        short = _best(front, errors, costs, reference, own, 4 * share)
        short = np.union1d(short, _best(front, errors, costs, reference, every, settings.shortlist))
        if self._plans:
            self._learn([pool[i] for i in short])
        costs[short] = self._problem.gauge.plans.costs(bits[short], costs[short], rows)
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
