"""Pareto fronts: what accuracy costs in time and in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mcuq_lab.figures.style import (
    footnote,
    labelled,
    legend_above,
    look_of,
    new_figure,
    provenance,
    styled,
)

COLUMNS = (
    "series",
    "simulated",
    "board",
    "sysclk_hz",
    "flash_wait_states",
    "accuracy",
    "cycles",
    "sram_peak_bytes",
)

_SHOWN = 3.0
"""Times the distance of the middle row from the float network."""
_LEAST_SHOWN_PERCENT = 5.0


@styled
def pareto_figure(
    frame: pd.DataFrame, *, float_accuracy: float | None = None, caption: str = ""
) -> Figure:
    """Accuracy against latency, accuracy against peak SRAM, latency against peak SRAM.

    Args:
        frame: one row a measured policy, with `COLUMNS`; `accuracy` in 0..1. Rows of a series that
            are dominated within it are drawn faint, its front as a staircase.
        float_accuracy: a dashed line for the float network, if given. The axes of accuracy then
            begin where most policies do; how many lie below them, the line below the panels says.
        caption: what was searched, for the line below the panels.

    Raises:
        ValueError: `frame` lacks a column or has no rows.
    """
    missing = [column for column in COLUMNS if column not in frame]
    if missing or frame.empty:
        raise ValueError(f"A Pareto figure needs rows with the columns {', '.join(COLUMNS)}.")
    frame = labelled(frame).assign(
        latency_ms=1e3 * frame["cycles"] / frame["sysclk_hz"],
        sram_kib=frame["sram_peak_bytes"] / 1024,
        accuracy_percent=100 * frame["accuracy"],
    )
    lowest = None if float_accuracy is None else _lowest_shown(frame, 100 * float_accuracy)
    look = look_of(frame["label"])
    figure, (time, memory, both) = new_figure(3, height_in=2.9)
    panels = (
        (time, "latency_ms", "accuracy_percent", "latency (ms)", "top-1 accuracy (%)"),
        (memory, "sram_kib", "accuracy_percent", "peak SRAM (KiB)", "top-1 accuracy (%)"),
        (both, "latency_ms", "sram_kib", "latency (ms)", "peak SRAM (KiB)"),
    )
    for axes, x, y, xlabel, ylabel in panels:
        for label, rows in frame.groupby("label", sort=False):
            _draw(axes, rows[x].to_numpy(), rows[y].to_numpy(), y != "sram_kib", label, look[label])
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.set_xlim(left=0)
        if y == "accuracy_percent" and float_accuracy is not None:
            axes.axhline(100 * float_accuracy, color="#777777", linestyle="--", linewidth=0.9)
            axes.annotate(
                "float",
                (1, 100 * float_accuracy),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                fontsize=6,
                color="#555555",
            )
        if y == "accuracy_percent" and lowest is not None:
            highest = max(frame["accuracy_percent"].max(), 100 * float_accuracy)
            axes.set_ylim(lowest, highest + (highest - lowest) / 10)
        if y == "sram_kib":
            axes.set_ylim(bottom=0)
    legend_above(figure, time)
    below = 0 if lowest is None else int((frame["accuracy_percent"] < lowest).sum())
    left_out = f"{below} below {lowest:.0f} % not shown" if below else ""
    footnote(figure, "; ".join(filter(None, (caption, left_out, provenance(frame)))))
    return figure


def _lowest_shown(frame: pd.DataFrame, best_percent: float) -> float | None:
    """Where the axes of accuracy begin, in percent; None: at the lowest row.

    What was far from the float network at once (2 bits everywhere) would press all others together.
    """
    accuracy = frame["accuracy_percent"]
    lowest = best_percent - max(_SHOWN * (best_percent - accuracy.median()), _LEAST_SHOWN_PERCENT)
    return np.floor(lowest) if lowest > accuracy.min() else None


def _draw(axes: Axes, x, y, maximise_y: bool, label: str, look: tuple[str, str]) -> None:
    colour, marker = look
    on_front = front_mask(x, y if maximise_y else -y)
    axes.scatter(x[~on_front], y[~on_front], s=9, color=colour, marker=marker, alpha=0.25, lw=0)
    order = np.argsort(x[on_front])
    front_x, front_y = x[on_front][order], y[on_front][order]
    axes.step(front_x, front_y, where="post", color=colour, linewidth=1.0, alpha=0.8)
    axes.scatter(front_x, front_y, s=22, color=colour, marker=marker, label=label, lw=0, zorder=3)


def front_mask(cost: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """True for the points that no other beats in both: lower `cost`, higher `gain`. Shape (n,)."""
    order = np.lexsort((-gain, cost))
    mask = np.zeros(len(cost), dtype=bool)
    best = -np.inf
    for i in order:
        if gain[i] > best:
            mask[i] = True
            best = gain[i]
    return mask
