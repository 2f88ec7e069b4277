"""Cycles of each layer at each pair of widths, learnt from the profiles of measured rows.

Cycles add up over layers, and a layer's cycles depend on its own widths (nearly) alone. So each
measured row teaches entries of one table (layer, w_bits, a_bits); entries that nobody measured yet
are predicted by a ridge regression in log space over the entries that are known.

Where some layers ran in strips, a profile has one line for all of them. Its cycles are spread
over their entries by the multiplicative iteration that makes sums of a table fit measured sums best
(Richardson 1972, Lucy 1974), beginning at what the regression predicts. An entry that was measured
by itself alone is the mean of what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcuq_lab.graph import DepthwiseConv2d, FullyConnected, WeightedNode
from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.space import N_WIDTHS, SearchSpace
from mcuq_lab.sources import joined_names

_RIDGE = 1e-2
_STARTING_CYCLES_PER_MAC = 1.0
_STARTING_CYCLES_PER_ELEMENT = 6.0  # of a node without weights

_ROUNDS = 4
"""Regressions where there are sums: the first learns from entries alone, others from all."""
_ITERATIONS = 30


@dataclass(frozen=True, eq=False)
class LayerCycles:
    """Cycles as rows teach them.

    Attributes:
        table: by layer and widths, float64 of shape (L, N_WIDTHS, N_WIDTHS).
        seen: which entries were measured, by themselves or in a sum.
        other_cycles: of everything beside the layers with weights.
    """

    table: np.ndarray
    seen: np.ndarray
    other_cycles: float


@dataclass(frozen=True, eq=False)
class _Lines:
    """The lines of all rows' profiles, and the entries whose sum each one is.

    Entries are numbers: those of the flat table, and behind them one for each node without weights.

    Attributes:
        cycles: of each line.
        line, entry: pairs of a line and one of its entries.
        n_entries: how many there are.
    """

    cycles: np.ndarray
    line: np.ndarray
    entry: np.ndarray
    n_entries: int

    @property
    def counts(self) -> np.ndarray:
        """Lines in which each entry occurs."""
        return np.bincount(self.entry, minlength=self.n_entries)

    def alone(self) -> _Lines:
        """The lines of one entry only."""
        single = np.bincount(self.line, minlength=len(self.cycles)) == 1
        kept = single[self.line]
        return _Lines(
            self.cycles[single], np.cumsum(single)[self.line[kept]] - 1, self.entry[kept],
            self.n_entries,
        )  # fmt: skip

    def spread(self, start: np.ndarray) -> np.ndarray:
        """The entries whose sums fit the lines, near `start`; `start` itself where none occurs."""
        counts, values = self.counts, start
        for _ in range(_ITERATIONS):
            sums = np.bincount(self.line, values[self.entry], minlength=len(self.cycles))
            factors = (self.cycles / sums)[self.line]
            total = np.bincount(self.entry, factors, minlength=self.n_entries)
            values = np.where(counts > 0, values * total / np.maximum(counts, 1), values)
        return values


def fit_layer_cycles(space: SearchSpace, rows: Sequence[Row]) -> LayerCycles:
    """Cycles as rows that succeeded teach them; predicted ones where there are none."""
    shape = (space.n_layers, N_WIDTHS, N_WIDTHS)
    n_widths = int(np.prod(shape))
    lines, unprofiled_cycles = _lines(space, rows)
    others = np.array([
        space.graph.shapes[name].size * _STARTING_CYCLES_PER_ELEMENT
        for name in _without_weights(space)
    ])  # fmt: skip

    def predicted(known: _Lines, values: np.ndarray) -> np.ndarray:
        seen = known.counts[:n_widths].reshape(shape) > 0
        table = _predict(space, values[:n_widths].reshape(shape), seen)
        return np.concatenate([table.ravel(), others])

    known = lines.alone()
    values = known.spread(np.concatenate([np.ones(n_widths), others]))
    for _ in range(1 if len(known.cycles) == len(lines.cycles) else _ROUNDS):
        values = lines.spread(predicted(known, values))
        known = lines
    seen = lines.counts > 0
    return LayerCycles(
        values[:n_widths].reshape(shape),
        seen[:n_widths].reshape(shape),
        float(values[n_widths:][seen[n_widths:]].sum() + unprofiled_cycles),
    )


def _lines(space: SearchSpace, rows: Sequence[Row]) -> tuple[_Lines, float]:
    """The rows' profiles, and the mean cycles of what no line of a known node counts."""
    nodes = [node.name for node in space.graph.nodes]
    others = _without_weights(space)
    cycles, line, entry, unprofiled = [], [], [], []
    for row in rows:
        if not row.layer_names:
            continue
        numbers = _entries(space, row, others)
        left = row.cycles_median
        for name, count in zip(row.layer_names, row.layer_cycles, strict=True):
            if covered := joined_names(name, nodes):
                line += [len(cycles)] * len(covered)
                entry += [numbers[node] for node in covered]
                cycles.append(count)
                left -= count
        unprofiled.append(left)
    lines = _Lines(
        np.array(cycles, np.float64),
        np.array(line, np.intp),
        np.array(entry, np.intp),
        space.n_layers * N_WIDTHS**2 + len(others),
    )
    return lines, float(np.mean(unprofiled)) if unprofiled else 0.0


def _entries(space: SearchSpace, row: Row, others: Sequence[str]) -> Mapping[str, int]:
    """For each node the number of its entry at the row's widths."""
    shape = (space.n_layers, N_WIDTHS, N_WIDTHS)
    first = space.n_layers * N_WIDTHS**2
    return {name: first + i for i, name in enumerate(others)} | {
        layer.name: int(np.ravel_multi_index((i, w - MIN_BITS, a - MIN_BITS), shape))
        for i, (layer, (w, a)) in enumerate(zip(space.graph.layers, row.policy, strict=True))
    }


def _without_weights(space: SearchSpace) -> list[str]:
    return [node.name for node in space.graph.nodes if not isinstance(node, WeightedNode)]


def _predict(space: SearchSpace, table: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Cycles for every entry: MACs times a rate, log-linear in layer, widths and operator, fitted
    to the entries of `table` that are `seen`."""
    design = _design(space)
    log_macs = np.log([space.graph.macs(layer) for layer in space.graph.layers])[:, None, None]
    prior = np.log(_STARTING_CYCLES_PER_MAC) + log_macs + np.zeros_like(table)
    if not seen.any():
        widths = np.arange(MIN_BITS, MAX_BITS + 1) / MAX_BITS
        return np.exp(prior) * (0.2 + 0.3 * widths[None, :, None] + 0.5 * widths[None, None, :])
    x, y = design[seen], np.log(np.maximum(table[seen], 1.0)) - prior[seen]
    mean = y.mean()
    weights = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ (y - mean))
    return np.exp(prior + mean + design @ weights)


def _design(space: SearchSpace) -> np.ndarray:
    """Indicator features of every table entry, shape (L, N_WIDTHS, N_WIDTHS, F)."""
    n, eye = space.n_layers, np.eye(N_WIDTHS)
    kinds = np.array([_kind(layer) for layer in space.graph.layers])
    kind_indicator = np.eye(kinds.max() + 1)[kinds]
    shape = (n, N_WIDTHS, N_WIDTHS)

    def spread(block: np.ndarray) -> np.ndarray:
        return np.broadcast_to(block, (*shape, block.shape[-1]))

    layer = spread(np.eye(n)[:, None, None, :])
    w = spread(eye[None, :, None, :])
    a = spread(eye[None, None, :, :])
    pair = spread(np.einsum("wi,aj->waij", eye, eye).reshape(1, N_WIDTHS, N_WIDTHS, -1)) * 0.5
    by_kind = (
        spread(np.einsum("lk,wi->lwki", kind_indicator, eye).reshape(n, N_WIDTHS, 1, -1)),
        spread(np.einsum("lk,ai->laki", kind_indicator, eye).reshape(n, 1, N_WIDTHS, -1)),
    )
    widths = np.arange(N_WIDTHS) / (N_WIDTHS - 1)
    slope_w = spread(np.eye(n)[:, None, None, :] * widths[None, :, None, None])
    slope_a = spread(np.eye(n)[:, None, None, :] * widths[None, None, :, None])
    return np.concatenate([layer, w, a, pair, *by_kind, 0.5 * slope_w, 0.5 * slope_a], axis=-1)


def _kind(layer) -> int:
    """Layers of one kind share kernels: depthwise, fully connected, 1x1, strided, other dense."""
    if isinstance(layer, FullyConnected):
        return 0
    if isinstance(layer, DepthwiseConv2d):
        return 1
    if (layer.window.kernel_h, layer.window.kernel_w) == (1, 1):
        return 2
    return 3 if layer.window.stride_h > 1 else 4
