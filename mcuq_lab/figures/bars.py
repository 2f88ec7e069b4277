"""Bars: how much faster and how much smaller, engine against engine on the same networks."""

from __future__ import annotations

import numpy as np
import pandas as pd
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

_UPRIGHT_LABELS = 4
"""Series whose values fit above their bars side by side."""


@styled
def speedup_figure(frame: pd.DataFrame, *, baseline: str) -> Figure:
    """Cycles of series `baseline` over those of each other series, a group of bars for each model.

    Args:
        frame: one row for each model and series: series, simulated, board, sysclk_hz,
            flash_wait_states, model, cycles.
        baseline: the series whose cycles are the numerator.

    Raises:
        ValueError: no row of the baseline for some model.
    """
    frame = _with_ratio(frame, "cycles", baseline)
    figure, (axes,) = new_figure(1, width_in=_width_in(frame), height_in=3.0)
    _grouped(axes, frame, "ratio", "{:.1f}x")
    axes.axhline(1, color="#777777", linewidth=0.8)
    axes.set_ylabel("speed-up")
    axes.set_title(f"over {baseline}")
    legend_above(figure, axes)
    footnote(figure, provenance(frame))
    return figure


@styled
def memory_figure(frame: pd.DataFrame) -> Figure:
    """Peak SRAM and flash in KiB, a group of bars for each model.

    `frame` has sram_peak_bytes and flash_total_bytes besides the columns of `speedup_figure`.
    """
    frame = labelled(frame).assign(
        sram_kib=frame["sram_peak_bytes"] / 1024, flash_kib=frame["flash_total_bytes"] / 1024
    )
    figure, (sram, flash) = new_figure(1, rows=2, width_in=_width_in(frame), height_in=4.6)
    for axes, column, label in (
        (sram, "sram_kib", "peak SRAM (KiB)"),
        (flash, "flash_kib", "flash (KiB)"),
    ):
        _grouped(axes, frame, column, "{:.0f}")
        axes.set_ylabel(label)
    legend_above(figure, sram)
    footnote(figure, provenance(frame))
    return figure


def _with_ratio(frame: pd.DataFrame, column: str, baseline: str) -> pd.DataFrame:
    reference = frame[frame["series"] == baseline].set_index("model")[column]
    absent = sorted(set(frame["model"]) - set(reference.index))
    if absent:
        raise ValueError(f"Baseline '{baseline}' has no row for: {', '.join(absent)}.")
    ratio = frame["model"].map(reference) / frame[column]
    return labelled(frame.assign(ratio=ratio))


def _width_in(frame: pd.DataFrame) -> float:
    return max(3.5, 1.3 * frame["model"].nunique() + 1.0)


def _grouped(axes, frame: pd.DataFrame, column: str, text: str) -> None:
    look = look_of(frame["label"])
    models = list(dict.fromkeys(frame["model"]))
    width = 0.8 / len(look)
    for i, (label, (colour, _)) in enumerate(look.items()):
        values = frame[frame["label"] == label].set_index("model")[column].reindex(models)
        x = np.arange(len(models)) + (i - (len(look) - 1) / 2) * width
        bars = axes.bar(x, values.to_numpy(float), width * 0.92, color=colour, label=label)
        labels = ["" if np.isnan(value) else text.format(value) for value in values]
        crowded = len(look) > _UPRIGHT_LABELS
        axes.bar_label(bars, labels, fontsize=6, padding=2, rotation=90 if crowded else 0)
        axes.margins(y=0.18 if crowded else 0.1)
    axes.set_xticks(np.arange(len(models)), models)
    axes.grid(False, axis="x")
