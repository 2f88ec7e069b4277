"""Hard budgets, and which choices for a layer can still lead to a policy that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mcuq_lab.policy import MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.costs import Costs
from mcuq_lab.rlquant.space import N_WIDTHS

_PAIRS = np.stack(np.meshgrid(range(N_WIDTHS), range(N_WIDTHS), indexing="ij"), -1).reshape(-1, 2)


@dataclass(frozen=True)
class Budgets:
    """What a policy must not exceed; None is no limit.

    Attributes:
        sram_bytes: peak SRAM, stack included.
        flash_bytes: code and weights.
        cycles: of one inference (latency times clock).
    """

    sram_bytes: float | None = None
    flash_bytes: float | None = None
    cycles: float | None = None

    @classmethod
    def of(cls, config: SearchConfig, sysclk_hz: int) -> Budgets:
        """The budgets of a search on a board with this core clock."""
        latency_ms = config.budget_latency_ms
        cycles = None if latency_ms is None else latency_ms * 1e-3 * sysclk_hz
        return cls(config.budget_sram_bytes, config.budget_flash_bytes, cycles)

    @property
    def any(self) -> bool:
        return self._limits != (None, None, None)

    def ratios(self, needs: np.ndarray) -> np.ndarray:
        """What is needed over what is allowed, for needs (..., 3); 0 where there is no limit.

        Last axis: SRAM bytes, flash bytes, cycles. A policy keeps the budgets if no ratio is above
        1; the largest one is the factor by which the budgets would have to grow for it.
        """
        limits = [np.inf if limit is None else limit for limit in self._limits]
        return np.asarray(needs, dtype=np.float64) / np.array(limits)

    def kept_by(self, rows: Sequence[Row]) -> np.ndarray:
        """Which rows succeeded and keep the budgets as measured; bool (n,)."""
        kept = [row.ok and (self.ratios(needs_of(row)) <= 1.0).all() for row in rows]
        return np.array(kept, dtype=bool)

    def left(self, costs: Costs, bits: np.ndarray) -> np.ndarray:
        """Fraction of each budget that policies (..., L, 2) leave, in [-1, 1]; 1 if no limit.

        float32 of shape (..., 3): SRAM, flash, cycles.
        """
        spent = (costs.sram_bytes, costs.flash_bytes, costs.cycles)
        left = [
            np.ones(bits.shape[:-2]) if limit is None else 1.0 - cost(bits) / limit
            for cost, limit in zip(spent, self._limits, strict=True)
        ]
        return np.clip(np.stack(left, axis=-1), -1.0, 1.0).astype(np.float32)

    def keeps(self, costs: Costs, bits: np.ndarray) -> np.ndarray:
        """Whether policies (..., L, 2) keep all budgets, by what `costs` knows; bool (...)."""
        return self._within(costs.sram_bytes(bits), costs.flash_bytes(bits), costs.cycles(bits))

    def _within(self, sram: np.ndarray, flash: np.ndarray, cycles: np.ndarray) -> np.ndarray:
        within = np.ones(np.shape(cycles), dtype=bool)
        for value, limit in zip((sram, flash, cycles), self._limits, strict=True):
            if limit is not None:
                within &= value <= limit
        return within

    @property
    def _limits(self) -> tuple[float | None, ...]:
        return (self.sram_bytes, self.flash_bytes, self.cycles)


def feasible_choices(costs: Costs, budgets: Budgets, bits: np.ndarray, layer: int) -> np.ndarray:
    """Which choices for `layer` some completion can bring within the budgets.

    Args:
        bits: (L, 2); layers before `layer` are decided, the values of the others do not matter.

    Returns:
        bool (N_WIDTHS, N_WIDTHS), by w_bits and a_bits. The least SRAM and flash of the layers to
        come are those of their smallest widths, their least cycles those of each layer's cheapest
        choice; each budget is held against its own least, so a choice that is refused is really
        lost, and while costs grow with the widths one that is allowed can really be completed.
    """
    opened = costs.space.open_choices(bits, layer)
    if not budgets.any:
        return opened
    completions = np.tile(bits, (len(_PAIRS), 1, 1))
    completions[:, layer] = _PAIRS + MIN_BITS
    completions[:, layer + 1 :] = MIN_BITS
    within = budgets._within(
        costs.sram_bytes(completions),
        costs.flash_bytes(completions),
        _least_cycles(costs, completions, layer + 1),
    )
    return within.reshape(N_WIDTHS, N_WIDTHS) & opened


def choice_mask(feasible: np.ndarray) -> np.ndarray:
    """The 14-wide mask of a layer's action: 7 widths of weights, 7 of activations; float32.

    A width is open if some partner makes a feasible pair. If nothing is feasible any more (the
    costs turned out non-monotone), the smallest widths stay open, and the episode's end says that
    it failed.
    """
    mask = np.concatenate([feasible.any(axis=1), feasible.any(axis=0)])
    if not feasible.any():
        mask[[0, N_WIDTHS]] = True
    return mask.astype(np.float32)


def nearest_feasible(feasible: np.ndarray, w: int, a: int) -> tuple[int, int]:
    """The pair itself if feasible, else the feasible one nearest to it (indices, not widths).

    The two halves of an action are drawn independently, so both can be open and the pair not.
    """
    if feasible[w, a] or not feasible.any():
        return w, a
    candidates = np.argwhere(feasible)
    distance = np.abs(candidates - (w, a)).sum(axis=1)
    best = candidates[np.argmin(distance)]
    return int(best[0]), int(best[1])


def draw_within(costs: Costs, budgets: Budgets, rng: np.random.Generator, n: int) -> np.ndarray:
    """`n` random policies that keep the budgets by what `costs` knows, canonical, (n, L, 2).

    Layer by layer, uniform among the choices that can still be completed.
    """
    space = costs.space
    if not budgets.any:
        return space.random(rng, n)
    bits = np.full((n, space.n_layers, 2), MIN_BITS, dtype=np.int8)
    for policy in bits:
        for layer in range(space.n_layers):
            options = np.argwhere(feasible_choices(costs, budgets, policy, layer))
            if len(options):
                policy[layer] = options[rng.integers(len(options))] + MIN_BITS
    return space.canonical(bits)


def needs_of(row: Row) -> tuple[float, float, float]:
    """Peak SRAM bytes, flash bytes and cycles of a row that succeeded."""
    return (row.sram_peak_bytes, row.flash_total_bytes, row.cycles_median)


def budgets_kept(frame: pd.DataFrame, config: SearchConfig) -> np.ndarray:
    """Which rows of a run's DataFrame succeeded and keep its budgets as measured; bool (n,)."""
    latency_ms = 1e3 * frame["cycles_median"] / frame["sysclk_hz"]
    kept = (frame["status"] == "ok").to_numpy()
    for needs, limit in (
        (frame["sram_peak_bytes"], config.budget_sram_bytes),
        (frame["flash_total_bytes"], config.budget_flash_bytes),
        (latency_ms, config.budget_latency_ms),
    ):
        if limit is not None:
            kept = kept & (needs <= limit).to_numpy()
    return kept


def _least_cycles(costs: Costs, bits: np.ndarray, decided: int) -> np.ndarray:
    index = costs.space.canonical(bits).astype(np.intp) - MIN_BITS
    layers = np.arange(costs.space.n_layers)
    known = costs.layer_cycles[layers, index[..., 0], index[..., 1]][..., :decided].sum(-1)
    ahead = costs.cheapest_cycles[layers, index[..., 1]][..., decided:].sum(-1)
    return known + ahead + costs.other_cycles
