"""Accuracy against latency, network by network and engine beside engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
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
    texts = []
    for axes, model in zip(panels, models, strict=False):
        texts.append(_panel(axes, frame[frame["model"] == model], look))
        axes.set_title(model, loc="left")
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    figure.legend(handles=_legend(look, frame), loc="outside upper center", ncols=2)
    footnote(figure, provenance(frame))
    figure.draw_without_rendering()  # labels keep clear of each other in the final layout
    for axes, labels in zip(panels, texts, strict=False):
        adjust_text(
            labels,
            ax=axes,
            expand=(1.25, 1.9),
            min_arrow_len=3,
            x=[x for line in axes.lines for x in line.get_xdata() if line.get_marker() != "None"],
            y=[y for line in axes.lines for y in line.get_ydata() if line.get_marker() != "None"],
            arrowprops={"arrowstyle": "-", "color": "#999999", "lw": 0.5},
        )
    return figure


def _panel(axes: Axes, frame: pd.DataFrame, look: dict[str, tuple[str, str]]) -> list[Text]:
    """Draws a panel; its labels lie on their points until `adjust_text` moves them."""
    texts = []
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
                texts.append(
                    axes.text(
                        row.latency_ms,
                        row.percent,
                        policy_label(row.policy),
                        fontsize=6,
                        color="#333333",
                        in_layout=False,
                        path_effects=[withStroke(linewidth=1.6, foreground="white")],
                        zorder=5,
                    )
                )
    axes.axhline(float_percent, color="#777777", linestyle="--", linewidth=0.9)
    below = int((frame["percent"] < lowest).sum())
    if below:
        axes.set_title(
            f"{below} more below {lowest:.0f} %", loc="right", fontsize=6, color="#555555"
        )
    floor = max(lowest, frame["percent"].min() - 2)
    axes.set_ylim(
        floor, max(float_percent, frame["percent"].max()) + 0.25 * (float_percent - floor)
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("latency (ms)")
    axes.set_ylabel("top-1 accuracy (%)")
    return texts


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
