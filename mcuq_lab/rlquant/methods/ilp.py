"""Integer linear programming over sensitivity and cost tables (as HAWQ-V3, Yao et al. 2021).

Error is taken to be the sum of what each width does alone, cycles come from the measured table;
each trade-off between the two, under each limit of activation memory, is one program, solved to
optimality by HiGHS. New rows make the table of cycles more exact, and the programs are drawn anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.quantgraph import STORAGE_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.costs import Costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.methods.anchors import anchors, unseen
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal
from mcuq_lab.rlquant.space import N_WIDTHS, SearchSpace

_BATCH = 8
_PROGRAMS = 24
"""Programs a batch, of which the first `_BATCH` with new solutions are taken."""
_SECONDS = 2.0


class Ilp:
    """Anchors, then the optima of programs with drawn trade-offs and memory limits."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._lifetimes = live_tensors(problem.space)
        self._batches = 0

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        if self._batches == 0:
            return anchors(self._problem)
        rng = self._problem.rng(4, self._batches)
        costs = self._problem.gauge.costs(rows)
        sensitivity = self._problem.sensitivity()
        largest = self._lifetimes.peak_bytes(self._problem.space.uniform(MAX_BITS, MAX_BITS))
        seen = {row.policy for row in rows}
        found: list[Proposal] = []
        for _ in range(_PROGRAMS):
            trade_off = 10.0 ** rng.uniform(-2.5, 1.5)
            limit = largest * rng.choice([1.0, rng.uniform(0.2, 1.0)])
            bits = solve(costs, sensitivity, trade_off, limit, self._problem.budgets)
            if bits is not None:
                found = unseen([*found, Proposal(bits, "ilp")], seen)
            if len(found) == _BATCH:
                break
        return found

    def tell(self, results: Sequence[Row]) -> None:
        self._batches += 1

    def state(self) -> object:
        return self._batches

    def restore(self, state: object) -> None:
        self._batches = state

    def close(self) -> None:
        pass


def solve(
    costs: Costs,
    sensitivity: np.ndarray,
    trade_off: float,
    memory_bytes: float,
    budgets: Budgets,
) -> np.ndarray | None:
    """The policy (L, 2) of least `error + trade_off * cycles`, both scaled by w8a8's and w2a2's.

    Args:
        costs: of cycles, by layer and widths.
        sensitivity: error that each width adds alone, (L, 2, N_WIDTHS).
        trade_off: weight of the cycles.
        memory_bytes: limit of the live activations, estimated as in `memory`.
        budgets: hard limits, kept by what `costs` knows.

    Returns:
        None if no policy keeps the limits (or HiGHS found none in time).
    """
    space = costs.space
    groups = space.input_groups
    n_layers, n_groups = space.n_layers, groups.max() + 1
    n_pairs = n_layers * N_WIDTHS * N_WIDTHS
    # Variables: x[l, w, a] (layer l has this pair), then y[g, a] (group g has this width).
    error_scale = max(sensitivity[:, :, 0].sum(), 1e-9)
    cycles = costs.layer_cycles / costs.layer_cycles[:, -1, -1].sum()
    pair_cost = sensitivity[:, 0, :, None] / error_scale + trade_off * cycles
    first = np.array([np.flatnonzero(groups == g)[0] for g in range(n_groups)])
    group_cost = sensitivity[first, 1] / error_scale
    objective = np.concatenate([pair_cost.ravel(), group_cost.ravel()])

    one_pair = np.zeros((n_layers, len(objective)))
    same_width = np.zeros((n_layers * N_WIDTHS, len(objective)))
    for layer in range(n_layers):
        start = layer * N_WIDTHS * N_WIDTHS
        one_pair[layer, start : start + N_WIDTHS * N_WIDTHS] = 1.0
        for a in range(N_WIDTHS):
            row = same_width[layer * N_WIDTHS + a]
            row[start + a : start + N_WIDTHS * N_WIDTHS : N_WIDTHS] = 1.0
            row[n_pairs + groups[layer] * N_WIDTHS + a] = -1.0
    ties = _tie_constraints(space, len(objective))
    open_pairs = np.ones(len(objective))
    open_pairs[:n_pairs] = np.tile(space.allowed.ravel(), n_layers)
    live, fixed = _live_bytes(costs, n_groups)
    memory = np.hstack([np.zeros((len(live), n_pairs)), live])
    solution = milp(
        objective,
        constraints=[
            LinearConstraint(one_pair, 1.0, 1.0),
            LinearConstraint(same_width, 0.0, 0.0),
            LinearConstraint(memory, -np.inf, memory_bytes - fixed),
            *ties,
            *_budget_constraints(costs, budgets, len(objective), memory, fixed),
        ],
        integrality=np.ones(len(objective)),
        bounds=Bounds(0.0, open_pairs),
        options={"time_limit": _SECONDS},
    )
    if solution.x is None:
        return None
    pairs = solution.x[:n_pairs].reshape(n_layers, -1).argmax(axis=1)
    bits = np.stack(np.divmod(pairs, N_WIDTHS), axis=1) + MIN_BITS
    return space.canonical(bits)


def _tie_constraints(space: SearchSpace, n_variables: int) -> list[LinearConstraint]:
    """Tied layers have the same pair: each variable of a layer equals that of the tie's first."""
    n_pairs, rows = N_WIDTHS * N_WIDTHS, []
    for layer in range(space.n_layers):
        first = space.tied(layer)[0]
        if first != layer:
            block = np.zeros((n_pairs, n_variables))
            block[:, layer * n_pairs : (layer + 1) * n_pairs] = np.eye(n_pairs)
            block[:, first * n_pairs : (first + 1) * n_pairs] -= np.eye(n_pairs)
            rows.append(LinearConstraint(block, 0.0, 0.0))
    return rows


def _budget_constraints(
    costs: Costs, budgets: Budgets, n_variables: int, memory: np.ndarray, fixed: np.ndarray
) -> list[LinearConstraint]:
    """The budgets as `costs` sees them: SRAM at each step, flash and cycles by layer and pair."""
    constraints = []
    if budgets.sram_bytes is not None:
        slope, intercept = costs.sram_line
        limit = budgets.sram_bytes - intercept
        constraints.append(LinearConstraint(slope * memory, -np.inf, limit - slope * fixed))
    by_pair = (
        (budgets.flash_bytes, costs.weight_flash_bytes, costs.flash_line[1]),
        (budgets.cycles, costs.layer_cycles, costs.other_cycles),
    )
    for limit, table, constant in by_pair:
        if limit is not None:
            row = np.zeros(n_variables)
            row[: table.size] = table.ravel() / limit  # about 1, as HiGHS likes it
            constraints.append(LinearConstraint(row, -np.inf, (limit - constant) / limit))
    return constraints


def _live_bytes(costs: Costs, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Live bytes at each step as a linear function of y[g, a]: (steps, G * N_WIDTHS), constants.

    A tensor that several groups decide (only sums read it) is counted with the first of them.
    """
    lifetimes, groups = costs.lifetimes, costs.space.input_groups
    widths = [STORAGE_BITS[bits] for bits in range(MIN_BITS, MAX_BITS + 1)]
    tensor_bytes = np.zeros((len(lifetimes.pixels), n_groups, N_WIDTHS))
    constant = np.zeros(len(lifetimes.pixels))
    for t, (pixels, channels) in enumerate(zip(lifetimes.pixels, lifetimes.channels, strict=True)):
        by_width = [pixels * ((channels * width + 7) // 8) for width in widths]
        readers = np.flatnonzero(lifetimes.readers[t])
        if len(readers):
            tensor_bytes[t, groups[readers[0]]] = by_width
        else:
            constant[t] = by_width[-1]
    live = lifetimes.live @ tensor_bytes.reshape(len(tensor_bytes), -1)
    return live, lifetimes.live @ constant
