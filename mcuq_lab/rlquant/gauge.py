"""Whether a policy keeps the hard budgets, by all that can be known without running it.

Peak SRAM and cycles are those of the engine's plan, brought to the scale of what was measured.
Flash is that of the linked image where the estimate comes near the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from mcuq_lab.policy import MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.costs import Costs, fit_costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.planned import Planned, Plans
from mcuq_lab.rlquant.space import SearchSpace

_TRUSTED_DISTANCE = 0.1
"""A flash estimate at least this far from the limit, relatively, needs no build ..."""
_TRUSTED_ROWS = 3
"""... once so many rows have calibrated it."""
_TRUSTED_CYCLES = 1.1
"""Policies whose estimated cycles exceed the limit by more than this factor are not planned."""
_TELLING_WIDTHS = (2, 4, 8)
"""Uniform policies, whose smallest images tell what those of others take."""


class Gauge:
    """Holds policies of one search against its budgets.

    Args:
        plan: what the engine says of a policy (L, 2); None if unknown.
        image_bytes: exact flash of a policy (L, 2); None if unknown.
        least_flash_bytes: about the flash of a policy's smallest image (L, 2), where the engine can
            give up speed for it; None where it cannot.
    """

    def __init__(
        self,
        space: SearchSpace,
        budgets: Budgets,
        plan: Callable[[np.ndarray], Planned | None],
        image_bytes: Callable[[np.ndarray], int | None],
        least_flash_bytes: Callable[[np.ndarray], int | None] = lambda bits: None,
    ) -> None:
        self.space, self.budgets = space, budgets
        self.plans = Plans(plan)
        self._image_anew = image_bytes
        self._least_flash_anew = least_flash_bytes
        self._images: dict[bytes, int | None] = {}
        self._lifetimes = live_tensors(space)

    def costs(self, rows: Sequence[Row]) -> Costs:
        """Costs as `rows` teach them; under a budget of flash, flash is the least that will do."""
        costs = fit_costs(self.space, rows, self._lifetimes)
        return costs.with_flash(*self._least_flash) if self._least_flash else costs

    def needs(self, costs: Costs, bits: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        """SRAM bytes, flash bytes and cycles of one policy (L, 2); float64 (3,)."""
        estimates = costs.needs(bits)
        if self.budgets.sram_bytes is not None or self.budgets.cycles is not None:
            estimates[[2, 0]] = self.plans.costs(bits[None], estimates[None, [2, 0]], rows)[0]
        if self.budgets.flash_bytes is not None and self._is_near(estimates[1], rows):
            exact = self.image(bits)
            estimates[1] = estimates[1] if exact is None else exact
        return estimates

    def keeps(self, costs: Costs, bits: np.ndarray, rows: Sequence[Row]) -> bool:
        """Whether a policy (L, 2) keeps all budgets; dear answers are sought only if needed."""
        if not self.budgets.any:
            return True
        if self.budgets.ratios(costs.needs(bits))[2] > _TRUSTED_CYCLES:
            return False
        return bool((self.budgets.ratios(self.needs(costs, bits, rows)) <= 1.0).all())

    def first_within(
        self, costs: Costs, policies: Iterable[np.ndarray], n: int, rows: Sequence[Row]
    ) -> list[np.ndarray]:
        """The first `n` of the policies (L, 2) that keep the budgets; others are not looked at."""
        found: list[np.ndarray] = []
        for bits in policies:
            if len(found) == n:
                break
            if self.keeps(costs, bits, rows):
                found.append(bits)
        return found

    def bring_within(self, costs: Costs, bits: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        """The policy itself if it keeps the budgets, else a narrower one that does, (L, 2).

        Step by step one width falls: the one that brings the policy nearer to its budgets by most
        for each bit it gives up. Where this leads nowhere, the first measured policy that keeps the
        budgets stands in, at no cost.
        """
        if self.keeps(costs, bits, rows):
            return bits
        beyond = np.zeros(3)  # what exact answers had beyond the estimates
        while True:
            estimate = costs.needs(bits)
            if (self.budgets.ratios(estimate + beyond) <= 1.0).all():
                exact = self.needs(costs, bits, rows)
                if (self.budgets.ratios(exact) <= 1.0).all():
                    return bits
                beyond = exact - estimate
            narrower, removed = self._narrower(bits)
            if not len(narrower):
                return self._measured_within(rows)
            gain = self._excess(costs, bits, beyond) - self._excess(costs, narrower, beyond)
            gain = gain / removed
            best = int(np.argmax(gain))
            if gain[best] <= 0.0:
                return self._measured_within(rows)
            bits = narrower[best]

    def image(self, bits: np.ndarray) -> int | None:
        """Exact flash bytes of a policy (L, 2), remembered."""
        key = bits.tobytes()
        if key not in self._images:
            self._images[key] = self._image_anew(bits)
        return self._images[key]

    @cached_property
    def _least_flash(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Uniform policies (n, L, 2) and their least flash (n,); None where that says nothing."""
        if self.budgets.flash_bytes is None:
            return None
        bits = np.stack([self.space.uniform(width, width) for width in _TELLING_WIDTHS])
        bits = self.space.canonical(bits)
        found = [self._least_flash_anew(policy) for policy in bits]
        return None if None in found else (bits, np.array(found, dtype=np.float64))

    def _is_near(self, estimate: float, rows: Sequence[Row]) -> bool:
        known = sum(row.ok for row in rows)
        distance = abs(estimate / self.budgets.flash_bytes - 1.0)
        return known < _TRUSTED_ROWS or distance < _TRUSTED_DISTANCE

    def _narrower(self, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All policies with one width lowered, (m, L, 2), and the bits removed, (m,)."""
        groups, made = self.space.input_groups, []
        targets = [(np.array([layer]), 0) for layer in range(self.space.n_layers)]
        targets += [(np.flatnonzero(groups == g), 1) for g in range(groups.max() + 1)]
        for layers, side in targets:
            for width in range(MIN_BITS, int(bits[layers[0], side])):
                lowered = bits.copy()
                lowered[layers, side] = width
                made.append((lowered, int(bits[layers[0], side]) - width))
        if not made:
            return np.empty((0, *bits.shape), np.int8), np.empty(0)
        return np.stack([policy for policy, _ in made]), np.array([n for _, n in made], float)

    def _excess(self, costs: Costs, bits: np.ndarray, beyond: np.ndarray) -> np.ndarray:
        """By how much policies (..., L, 2) exceed the budgets, (...); every step of the network
        that exceeds the SRAM counts, so that lowering one of several equal peaks is a gain."""
        needs = costs.needs(bits) + beyond
        steps = costs.step_sram_bytes(bits) + beyond[0]
        over = np.maximum(self.budgets.ratios(needs) - 1.0, 0.0)
        limit = self.budgets.sram_bytes
        memory = 0.0 if limit is None else np.maximum(steps / limit - 1.0, 0.0).sum(axis=-1)
        return memory + over[..., 1] + over[..., 2]

    def _measured_within(self, rows: Sequence[Row]) -> np.ndarray:
        kept = np.flatnonzero(self.budgets.kept_by(rows))
        return np.array(rows[kept[0]].policy, dtype=np.int8)
