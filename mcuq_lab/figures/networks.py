"""Accuracy against latency, network by network and engine beside engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from mcuq_lab.figures.pareto import front_mask
from mcuq_lab.figures.style import footnote, labelled, look_of, new_figure, provenance, styled
from mcuq_lab.policy import policy_label

_SHOWN_POINTS = 25.0
"""Points below the float network's accuracy that a panel shows; rows below are counted in words."""


@styled
def networks_figure(frame: pd.DataFrame) -> Figure:
    """Accuracy against latency in one panel a network: a marker each policy of each engine.

    Filled markers are networks trained at their policy, hollow ones are quantized post-training;
    an engine's front is a staircase. The dashed line is the float network.

    Args:
        frame: rows as `frames.model_frame` gives them, with engine_label, origin, accuracy and
            float_accuracy; rows without accuracy are left out.

    Raises:
        ValueError: no row has an accuracy.
    """
    frame = frame[frame["accuracy"].notna()]
    if frame.empty:
        raise ValueError("No row has an accuracy.")
    frame = labelled(frame.assign(series=frame["engine_label"])).assign(
        latency_ms=1e3 * frame["cycles"] / frame["sysclk_hz"], percent=100 * frame["accuracy"]
    )
    look = look_of(frame["label"])
    models = list(dict.fromkeys(frame["model"]))
    columns = min(2, len(models))
    rows = -(-len(models) // columns)
    figure, panels = new_figure(
        columns, rows=rows, width_in=3.6 * columns, height_in=0.9 + 2.3 * rows
    )
    for axes, model in zip(panels, models, strict=False):
        _panel(axes, frame[frame["model"] == model], look)
        axes.set_title(model, loc="left")
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    figure.legend(handles=_legend(look, frame), loc="outside upper center", ncols=2)
    footnote(figure, provenance(frame))
    return figure


def _panel(axes: Axes, frame: pd.DataFrame, look: dict[str, tuple[str, str]]) -> None:
    float_percent = 100 * frame["float_accuracy"].iloc[0]
    lowest = float_percent - _SHOWN_POINTS
    for label, rows in frame.groupby("label", sort=False):
        colour, marker = look[label]
        x, y = rows["latency_ms"].to_numpy(), rows["percent"].to_numpy()
        front = front_mask(x, y)
        order = np.argsort(x[front])
        axes.step(x[front][order], y[front][order], where="post", color=colour, lw=1, alpha=0.7)
        for row in rows.itertuples():
            trained = row.origin == "quantization-aware"
            face = colour if trained else "white"
            axes.plot(row.latency_ms, row.percent, marker, color=colour, markerfacecolor=face)
            if row.percent >= lowest and row.engine == "liteengine":
                axes.annotate(
                    policy_label(row.policy),
                    (row.latency_ms, row.percent),
                    xytext=(1, -4),
                    textcoords="offset points",
                    rotation=-40,  # neighbours are often close to each other
                    rotation_mode="anchor",
                    va="top",
                    fontsize=5.5,
                    color="#444444",
                )
    axes.axhline(float_percent, color="#777777", linestyle="--", linewidth=0.9)
    below = int((frame["percent"] < lowest).sum())
    if below:
        axes.text(
            0.98,
            0.03,
            f"{below} more below {lowest:.0f} %",
            transform=axes.transAxes,
            ha="right",
            fontsize=6,
            color="#555555",
        )
    floor = max(lowest, frame["percent"].min() - 2)
    axes.set_ylim(
        floor, max(float_percent, frame["percent"].max()) + 0.06 * (float_percent - floor)
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("latency (ms)")
    axes.set_ylabel("top-1 accuracy (%)")


def _legend(look: dict[str, tuple[str, str]], frame: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, label=label)
        for label, (colour, marker) in look.items()
    ]
    handles.append(Line2D([], [], color="#777777", linestyle="--", lw=0.9, label="float network"))
    if frame["origin"].nunique() > 1:
        handles.append(
            Line2D(
                [],
                [],
                color="#555555",
                marker="o",
                markerfacecolor="white",
                lw=0,
                label="hollow: quantized post-training",
            )
        )
    return handles
