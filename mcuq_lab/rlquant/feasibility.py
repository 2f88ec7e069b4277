"""At the start of a search with hard budgets: is there any policy that keeps them?

Plans and images of the smallest policies are exact and need no board: where none of them keeps the
memory budgets, the search ends before anything is measured. What is left is probed on the board,
most promising policy first, until one keeps all budgets or nothing promises to come nearer. Which
policy is smallest depends on the cost: code for w2a2 can take more flash than for w2a8, and an
unpacked layer can be faster than a packed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import MAX_BITS, MIN_BITS, Policy
from mcuq_lab.results import Row
from mcuq_lab.rlquant.budgets import Budgets, needs_of
from mcuq_lab.rlquant.gauge import Gauge
from mcuq_lab.rlquant.space import N_WIDTHS, to_policy

MOST_PROBES = 6
"""Policies that are measured, at most, in search of the first that keeps the budgets."""

_SMALLEST = ((2, 2), (2, 4), (2, 8), (3, 2), (4, 2), (8, 2))
"""Uniform (w_bits, a_bits), one of which is the smallest in memory or near it."""

_FASTEST = ((2, 2), (4, 2), (2, 4), (4, 4))
"""Uniform (w_bits, a_bits), layers of which make up the fastest policy or nearly."""

_NEAR = 1.5
"""Budgets missed by a larger factor are not reached by a better mixture of these layers."""

_ADVICE = "Raise the budgets to these, or choose a smaller network or a larger board."


def smallest_policy(gauge: Gauge) -> np.ndarray:
    """A policy (L, 2) that keeps the memory budgets by plan and image, or comes nearest.

    Raises:
        ConfigError: not even the plans or images alone keep them.
    """
    budgets, best = gauge.budgets, None
    for w, a in _SMALLEST:
        bits = gauge.space.canonical(gauge.space.uniform(w, a))
        needs = np.zeros(3)
        if budgets.sram_bytes is not None:
            plan = gauge.plans.plan(bits)
            needs[0] = plan.memory_bytes if plan else 0
        if budgets.flash_bytes is not None:
            needs[1] = gauge.image(bits) or 0
        if best is None or _factor(budgets, needs) < _factor(budgets, best[1]):
            best = (bits, needs)
        if _factor(budgets, best[1]) <= 1.0:
            return best[0]
    bits, needs = best
    raise ConfigError(
        f"No policy keeps the budgets: {_missed(budgets, needs)} Found before anything was "
        f"measured, by the engine's memory plan (without the stack) and the linked image of "
        f"{len(_SMALLEST)} smallest policies, of which {to_policy(bits)} comes nearest. {_ADVICE}"
    )


def next_probe(gauge: Gauge, rows: Sequence[Row], first: np.ndarray) -> np.ndarray | None:
    """The policy (L, 2) to measure next in search of one that keeps the budgets.

    Args:
        rows: measured so far; `first` is what to begin with.

    Returns:
        None if one of the rows keeps the budgets, or nothing promises more than what is measured.
        Where a latency budget is nearly kept, the fastest uniform policies are measured first: they
        teach the cycles of the layers that a faster mixture consists of.
    """
    budgets, measured = gauge.budgets, {row.policy for row in rows}
    if budgets.kept_by(rows).any():
        return None
    if to_policy(first).pairs not in measured:
        return first
    reached = min((_factor(budgets, needs_of(row)) for row in rows if row.ok), default=np.inf)
    fast = _fast_policy(gauge, measured) if reached < _NEAR else None
    if fast is not None:
        return fast
    costs = gauge.costs(rows)
    mixture = _mixture(gauge, np.where(costs.seen, costs.layer_cycles, np.inf))
    if reached < _NEAR and to_policy(mixture).pairs not in measured:
        return mixture
    widths = range(MIN_BITS, MAX_BITS + 1)
    candidates = [gauge.space.uniform(w, a) for w, a in product(widths, widths)]
    candidates.append(_mixture(gauge, costs.layer_cycles))
    bits = gauge.space.canonical(np.stack(candidates))
    factors = budgets.ratios(costs.needs(bits)).max(axis=-1)
    for index in np.argsort(factors, kind="stable"):
        if factors[index] >= reached:
            return None
        if to_policy(bits[index]).pairs not in measured:
            return bits[index]
    return None


def _mixture(gauge: Gauge, layer_cycles: np.ndarray) -> np.ndarray:
    """Each layer at the widths with its fewest cycles, (L, 2)."""
    cheapest = layer_cycles.reshape(gauge.space.n_layers, -1).argmin(axis=1)
    bits = np.stack(np.divmod(cheapest, N_WIDTHS), axis=1) + MIN_BITS
    return gauge.space.canonical(bits)


def _fast_policy(gauge: Gauge, measured: set) -> np.ndarray | None:
    """One of the fastest uniform policies (L, 2) that is not measured yet, where time is short."""
    if gauge.budgets.cycles is None:
        return None
    policies = [gauge.space.canonical(gauge.space.uniform(w, a)) for w, a in _FASTEST]
    return next((bits for bits in policies if to_policy(bits).pairs not in measured), None)


def refusal(budgets: Budgets, rows: Sequence[Row], sysclk_hz: int) -> ConfigError:
    """Says which budgets the nearest of the measured rows misses, by how much, and what it needs.

    Nearest is the row for which the budgets would have to grow by the smallest factor.
    """
    measured = [row for row in rows if row.ok]
    nearest = min(measured, key=lambda row: _factor(budgets, needs_of(row)))
    needs = needs_of(nearest)
    milliseconds = 1e3 / sysclk_hz
    return ConfigError(
        f"No policy keeps the budgets: {_missed(budgets, needs, milliseconds)} Nearest of "
        f"{len(measured)} policies measured in search of one is {Policy.of(nearest.policy)}: "
        f"{needs[0]:,} bytes of peak SRAM, {needs[1]:,} bytes of flash, "
        f"{needs[2] * milliseconds:,.3f} ms. {_ADVICE}"
    )


def _factor(budgets: Budgets, needs: Sequence[float]) -> float:
    return float(budgets.ratios(needs).max())


def _missed(budgets: Budgets, needs: Sequence[float], milliseconds: float = 0.0) -> str:
    """A sentence for each budget that is missed; `milliseconds` a cycle."""
    texts = []
    kinds = (
        ("--budget-sram-bytes", "bytes", budgets.sram_bytes, 1.0),
        ("--budget-flash-bytes", "bytes", budgets.flash_bytes, 1.0),
        ("--budget-latency-ms", "ms", budgets.cycles, milliseconds),
    )
    for (option, unit, limit, scale), need in zip(kinds, needs, strict=True):
        if limit is not None and need > limit:
            digits = 0 if unit == "bytes" else 3
            limit, need = limit * scale, need * scale
            texts.append(
                f"{option} {limit:.{digits}f} is missed by {need - limit:,.{digits}f} {unit} "
                f"({need:,.{digits}f} {unit} are needed)."
            )
    return " ".join(texts)
