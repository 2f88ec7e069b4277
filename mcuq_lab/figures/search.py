"""How a search went: hypervolume against effort, and the policies it tried."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.pyplot import get_cmap

from mcuq_lab.figures.style import (
    footnote,
    legend_above,
    look_of,
    new_figure,
    origin,
    styled,
)
from mcuq_lab.policy import MAX_BITS, MIN_BITS

_LEAST_MISSING = 1e-5
"""Where a logarithmic axis ends: what misses less has as good as everything."""


@styled
def hypervolume_figure(
    frame: pd.DataFrame, *, board: str, simulated: bool, remark: str = "", most: float | None = None
) -> Figure:
    """Hypervolume of the front found so far, against evaluations and against seconds.

    Args:
        frame: one row a method, seed and evaluation: method, seed, evaluation (1..), seconds
            (since the start), hypervolume. With several seeds the line is their median and the band
            spans the quartiles.
        board, simulated: where the rows come from.
        remark: what else a reader must know.
        most: the largest hypervolume that is known, of a whole table or of all searches together:
            drawn is then what part of it is missing, on a logarithmic axis, since good methods
            differ by thousandths.
    """
    if most is not None:
        missing = (1.0 - frame["hypervolume"] / most).clip(lower=_LEAST_MISSING)
        frame = frame.assign(hypervolume=missing)
    figure, (by_count, by_time) = new_figure(2)
    look = look_of(frame["method"])
    for method, rows in frame.groupby("method", sort=False):
        colour, _ = look[method]
        grid = rows.groupby("evaluation")["hypervolume"]
        median = grid.median()
        n_seeds = rows["seed"].nunique()
        label = method if n_seeds == 1 else f"{method} ({n_seeds} seeds)"
        by_count.plot(median.index, median, color=colour, label=label)
        seconds = rows.groupby("evaluation")["seconds"].median().cummax()
        by_time.plot(seconds, median.reindex(seconds.index), color=colour)
        if n_seeds > 1:
            by_count.fill_between(
                median.index,
                grid.quantile(0.25),
                grid.quantile(0.75),
                color=colour,
                alpha=0.2,
                lw=0,
            )
    by_count.set_xlabel("evaluations")
    by_time.set_xlabel("seconds")
    for axes in (by_count, by_time):
        if most is None:
            axes.set_ylabel("hypervolume")
            axes.set_ylim(bottom=0)
        else:
            axes.set_ylabel("missing hypervolume")
            axes.set_yscale("log")
            axes.set_ylim(max(_LEAST_MISSING, 0.5 * frame["hypervolume"].min()), 1)
    if most is not None:
        by_time.set_xscale("log")
    legend_above(figure, by_count)
    footnote(figure, f"{board} ({origin(simulated)})" + (f"; {remark}" if remark else ""))
    return figure


@styled
def policy_figure(policies: list[list[tuple[int, int]]], layer_names: list[str]) -> Figure:
    """Heat map of the widths tried: one column an evaluation, one row a layer.

    Args:
        policies: for each evaluation in order, (w_bits, a_bits) of each layer.
        layer_names: names of the layers, in graph order.
    """
    widths = np.asarray(policies)
    figure, panels = new_figure(2, height_in=0.9 + 0.16 * len(layer_names))
    steps = np.arange(MIN_BITS, MAX_BITS + 2) - 0.5
    colours = get_cmap("viridis", MAX_BITS - MIN_BITS + 1)
    norm = BoundaryNorm(steps, colours.N)
    for axes, which, title in zip(panels, (0, 1), ("weights", "activations"), strict=True):
        image = axes.imshow(
            widths[:, :, which].T, aspect="auto", interpolation="nearest", cmap=colours, norm=norm
        )
        axes.set_title(f"bits of the {title}")
        axes.set_xlabel("evaluation")
        axes.grid(False)
        axes.set_yticks(range(len(layer_names)), layer_names if which == 0 else [])
    figure.colorbar(image, ax=panels, ticks=range(MIN_BITS, MAX_BITS + 1), shrink=0.9)
    return figure
