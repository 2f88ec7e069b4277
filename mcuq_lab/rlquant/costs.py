"""What a policy costs: cycles, peak SRAM and flash, known without running it.

Cycles come from what rows tell about layers, see `layer_cycles`: after some rounds they are nearly
exact wherever the search goes.

Peak SRAM is not additive: the calibrated estimate of `memory` serves imagined episodes, and the
exact plan replaces it where a policy is about to be measured. Flash is the weights' bytes, which
are exact, plus code, which is calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.layer_cycles import fit_layer_cycles
from mcuq_lab.rlquant.memory import LiveTensors, live_tensors
from mcuq_lab.rlquant.space import SearchSpace


@dataclass(frozen=True, eq=False)
class Costs:
    """Costs of a policy of one space, for arrays of policies (..., L, 2).

    Attributes:
        layer_cycles: predicted or measured cycles, float64 of shape (L, N_WIDTHS, N_WIDTHS),
            indexed by width - MIN_BITS.
        seen: which entries are measured.
        other_cycles: cycles of everything beside the layers with weights.
        sram_line: (slope, intercept) from estimated live bytes to peak SRAM bytes.
        flash_line: (slope, intercept) from weight bytes to total flash bytes.
    """

    space: SearchSpace
    lifetimes: LiveTensors
    layer_cycles: np.ndarray
    seen: np.ndarray
    other_cycles: float
    sram_line: tuple[float, float] = (1.0, 0.0)
    flash_line: tuple[float, float] = (1.0, 0.0)

    def cycles(self, bits: np.ndarray) -> np.ndarray:
        """Cycles of one inference, float64 of shape (...)."""
        index = self.space.canonical(bits).astype(np.intp) - MIN_BITS
        layers = np.arange(self.space.n_layers)
        return self.layer_cycles[layers, index[..., 0], index[..., 1]].sum(-1) + self.other_cycles

    def sram_bytes(self, bits: np.ndarray) -> np.ndarray:
        """Estimated peak SRAM, float64 of shape (...)."""
        slope, intercept = self.sram_line
        return slope * self.lifetimes.peak_bytes(bits) + intercept

    def flash_bytes(self, bits: np.ndarray) -> np.ndarray:
        """Estimated flash, float64 of shape (...)."""
        slope, intercept = self.flash_line
        return slope * self._weight_bytes(bits) + intercept

    def with_flash(self, bits: np.ndarray, flash_bytes: np.ndarray) -> Costs:
        """These costs, but for flash, which is what policies (n, L, 2) take, (n,)."""
        return replace(self, flash_line=_line(self._weight_bytes(bits), flash_bytes, 1.0))

    def needs(self, bits: np.ndarray) -> np.ndarray:
        """SRAM bytes, flash bytes and cycles, float64 of shape (..., 3)."""
        known = (self.sram_bytes(bits), self.flash_bytes(bits), self.cycles(bits))
        return np.stack([np.asarray(cost, dtype=np.float64) for cost in known], axis=-1)

    def step_sram_bytes(self, bits: np.ndarray) -> np.ndarray:
        """Estimated SRAM in use while each node runs, (..., steps); its maximum is the peak."""
        slope, intercept = self.sram_line
        return slope * self.lifetimes.step_bytes(bits) + intercept

    def _weight_bytes(self, bits: np.ndarray) -> np.ndarray:
        return (bits[..., 0] * self._weights_per_bit).sum(-1)

    @cached_property
    def _weights_per_bit(self) -> np.ndarray:
        return np.array([layer.weight.size / 8 for layer in self.space.graph.layers])

    @property
    def weight_flash_bytes(self) -> np.ndarray:
        """Flash that each layer's weights take, by widths, float64 (L, N_WIDTHS, N_WIDTHS)."""
        widths = np.arange(MIN_BITS, MAX_BITS + 1)
        by_width = self.flash_line[0] * np.outer(self._weights_per_bit, widths)
        return np.broadcast_to(by_width[:, :, None], self.layer_cycles.shape)

    @cached_property
    def largest_flash_bytes(self) -> float:
        """Flash of the widest policy, w8a8."""
        return float(self.flash_bytes(self.space.uniform(MAX_BITS, MAX_BITS)))

    @cached_property
    def cheapest_cycles(self) -> np.ndarray:
        """For each layer and input width the cycles of the best choice at that width or above."""
        best = self.layer_cycles.min(axis=1)
        return np.minimum.accumulate(best[:, ::-1], axis=1)[:, ::-1]


def initial_costs(space: SearchSpace) -> Costs:
    """Costs before anything was measured: proportional to MACs and, weakly, to both widths."""
    return fit_costs(space, (), live_tensors(space))


def fit_costs(space: SearchSpace, rows: Sequence[Row], lifetimes: LiveTensors) -> Costs:
    """Costs learnt from the rows of one model, engine and board that succeeded."""
    rows = [row for row in rows if row.ok]
    known = fit_layer_cycles(space, rows)
    costs = Costs(space, lifetimes, known.table, known.seen, known.other_cycles)
    if not rows:
        return costs
    bits = np.array([row.policy for row in rows])
    live = lifetimes.peak_bytes(bits)
    sram = np.array([row.sram_peak_bytes for row in rows], dtype=np.float64)
    flash = np.array([row.flash_total_bytes for row in rows], dtype=np.float64)
    return replace(
        costs,
        # In-place operation saves a share of the live bytes; code comes on top of all weights.
        sram_line=_line(live, sram, lone_slope=float((sram / live).mean())),
        flash_line=_line(costs._weight_bytes(bits), flash, lone_slope=1.0),
    )


def _line(x: np.ndarray, y: np.ndarray, lone_slope: float) -> tuple[float, float]:
    """Least squares y = slope * x + intercept with slope >= 0 (a wider tensor is never smaller).

    `lone_slope` serves while all x are equal.
    """
    x = np.asarray(x, dtype=np.float64)
    spread = ((x - x.mean()) ** 2).sum()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread if spread > 0 else lone_slope
    slope = max(float(slope), 0.0)
    return slope, float(y.mean() - slope * x.mean())
