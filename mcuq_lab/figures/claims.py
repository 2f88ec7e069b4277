"""The poster's two figures: factors of speed and of memory, each with the range that it claims."""

from __future__ import annotations

from collections.abc import Sequence

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
from mcuq_lab.policy import policy_label

FASTEST = "fastest"
SETTINGS = (FASTEST, "w8a8", "w4a4", "w2a2")
"""The panels: settings of LiteEngine, where they were measured."""

_BAND = "#B3B3B3"
_TITLES = {FASTEST: "LiteEngine's fastest that keeps the accuracy"}


@styled
def claimed_speed_figure(frame: pd.DataFrame, *, settings: Sequence[str] = SETTINGS) -> Figure:
    """How many times fewer cycles LiteEngine needs: a group of bars a network, a bar an engine.

    Args:
        frame: judgements as `frames.claims_frame` gives them; the shaded band is their low..high.
        settings: a panel each, top to bottom: `fastest` (of the policies that keep the accuracy),
            or a uniform policy. Those that `frame` lacks are left out.

    Raises:
        ValueError: nothing to draw.
    """
    return _factors(frame, {"speed": "times fewer cycles"}, settings)


@styled
def claimed_memory_figure(frame: pd.DataFrame, *, settings: Sequence[str] = SETTINGS) -> Figure:
    """How many times less peak SRAM and flash LiteEngine needs; else as `claimed_speed_figure`."""
    labels = {"peak SRAM": "times less peak SRAM", "flash": "times less flash"}
    return _factors(frame, labels, settings)


def _factors(frame: pd.DataFrame, labels: dict[str, str], settings: Sequence[str]) -> Figure:
    factors = labelled(frame[frame["claim"].isin(labels)])
    shown = [name for name in settings if (factors["setting"] == name).any()]
    if not shown:
        raise ValueError("No judgement of speed or memory at one of the settings.")
    look = look_of(factors["label"])
    models = list(dict.fromkeys(factors["model"]))
    points = _accuracy_points(frame)
    cells = [(setting, claim) for setting in shown for claim in labels]
    columns = min(2, len(cells))
    rows = -(-len(cells) // columns)
    figure, panels = new_figure(
        columns,
        rows=rows,
        width_in=0.4 + columns * max(3.0, 0.4 + 0.85 * len(models)),
        height_in=1.1 + 1.75 * rows,
    )
    tallest = factors.groupby("claim")["measured"].max()
    for axes, (setting, claim) in zip(panels, cells, strict=False):
        chosen = factors[(factors["setting"] == setting) & (factors["claim"] == claim)]
        _band(axes, chosen)
        _bars(axes, chosen, models, look)
        # One scale for a claim, so that panels can be compared by eye.
        axes.set_ylim(0, 1.15 * max(tallest[claim], chosen["high"].iloc[0]))
        axes.set_ylabel(labels[claim])
        axes.set_title(_TITLES.get(setting, f"LiteEngine at {setting}"), loc="left")
        names = [_named(model, chosen, points) for model in models]
        axes.set_xticks(np.arange(len(models)), names)
    for axes in panels[len(cells) :]:
        axes.set_axis_off()
    legend_above(figure, panels[0])
    footnote(
        figure,
        f"{provenance(frame)}. Points: accuracy less the float network's.\n"
        "At the fastest policy each engine stands at its own best that keeps the accuracy, "
        "else at the same widths or int8, whichever is better for it.",
    )
    return figure


def _bars(axes: Axes, frame: pd.DataFrame, models: list[str], look: dict) -> None:
    width = 0.84 / len(look)
    for i, (label, (colour, _)) in enumerate(look.items()):
        values = frame[frame["label"] == label].set_index("model")["measured"].reindex(models)
        x = np.arange(len(models)) + (i - (len(look) - 1) / 2) * width
        bars = axes.bar(x, values.to_numpy(float), width * 0.9, color=colour, label=label)
        texts = ["" if np.isnan(value) else f"{value:.1f}" for value in values]
        axes.bar_label(bars, texts, fontsize=6.5, padding=1.5)
    axes.axhline(1, color="#333333", linewidth=0.8)
    axes.set_xlim(-0.52, len(models) - 0.48)
    axes.grid(False, axis="x")


def _band(axes: Axes, frame: pd.DataFrame) -> None:
    """The claimed range, drawn behind the bars."""
    low, high = frame["low"].iloc[0], frame["high"].iloc[0]
    text = f"claimed on the poster: {low:g} to {high:g}x"
    axes.axhspan(low, high, color=_BAND, alpha=0.45, lw=0, zorder=0.5, label=text)


def _accuracy_points(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    """Points above the float network's accuracy, by model and policy."""
    rows = frame[(frame["claim"] == "accuracy") & (frame["against"] == "float")]
    return {
        (row.model, row.policy): row.measured for row in rows.itertuples() if pd.notna(row.measured)
    }


def _named(model: str, chosen: pd.DataFrame, points: dict[tuple[str, str], float]) -> str:
    """A network, its policy where panels hold several, and what became of its accuracy.

    Without an accuracy no policy is known to keep it: that panel has no bars of the network.
    """
    lines = [model]
    rows = chosen[chosen["model"] == model]
    if not rows.empty:
        policy = rows["policy"].iloc[0]
        if rows["setting"].iloc[0] == FASTEST:
            lines.append(policy_label(policy))
        if (kept := points.get((model, policy))) is not None:
            lines.append(f"{kept:+.1f} points")
    if not any(known == model for known, _ in points):
        lines.append("no accuracy")
    return "\n".join(lines)
