"""One network, layer by layer: cycles, widths, packing, and the arena over time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mcuq_lab.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    SKY,
    footnote,
    legend_above,
    new_figure,
    origin,
    styled,
)

_LETTERS_PER_STEP = 7
"""Letters that fit one step of the arena's time axis, for a network of some fifteen steps."""


@styled
def layer_figure(frame: pd.DataFrame, *, board: str, simulated: bool) -> Figure:
    """Cycles and MACs per cycle of each layer, with its policy and packing beside the name.

    `frame` has one row a layer in execution order: name, op, policy, packing, macs, cycles.
    """
    figure, (cycles, rate) = new_figure(2, height_in=0.9 + 0.23 * len(frame))
    y = np.arange(len(frame))[::-1]
    names = [
        f"{row.name_}  {row.policy}" + (f"  [{row.packing}]" if row.packing else "")
        for row in frame.rename(columns={"name": "name_"}).itertuples()
    ]
    bars = cycles.barh(y, frame["cycles"] / 1e3, color=BLUE)
    cycles.bar_label(bars, [f"{value / 1e3:,.0f}" for value in frame["cycles"]], fontsize=6)
    cycles.set_yticks(y, names)
    cycles.set_xlabel("thousand cycles")
    per_cycle = frame["macs"] / frame["cycles"]
    bars = rate.barh(y, per_cycle, color=GREEN)
    rate.bar_label(bars, [f"{v:.2f}" if v else "" for v in per_cycle], fontsize=6)
    rate.set_yticks(y, [""] * len(frame))
    rate.set_xlabel("MAC per cycle")
    for axes in (cycles, rate):
        axes.grid(False, axis="y")
        axes.margins(x=0.12)
    footnote(figure, f"{board} ({origin(simulated)})")
    return figure


_ARENA_WIDTH_IN, _ARENA_HEIGHT_IN = 5.0, 3.0
_LETTER_IN, _LINE_IN = 0.04, 0.08  # of a label
_INSIDE = 0.75  # of the figure are inside its axes


@styled
def arena_figure(frame: pd.DataFrame, *, total_bytes: int) -> Figure:
    """The arena over time: one rectangle a buffer, from its first to its last step.

    `frame` has one row a buffer: name, kind (`tensor` or `scratch`), offset_bytes, size_bytes,
    first_step, last_step.
    """
    figure, (axes,) = new_figure(1, width_in=_ARENA_WIDTH_IN, height_in=_ARENA_HEIGHT_IN)
    colours = {"tensor": SKY, "scratch": ORANGE}
    n_steps = frame["last_step"].max() - frame["first_step"].min() + 1
    for row in frame.itertuples():
        left, bottom = row.first_step - 0.5, row.offset_bytes / 1024
        width, height = row.last_step - row.first_step + 1, row.size_bytes / 1024
        axes.add_patch(
            Rectangle((left, bottom), width, height, facecolor=colours[row.kind], edgecolor="white")
        )
        turn = _label_turn(len(row.name), width / n_steps, height / (total_bytes / 1024))
        if turn is not None:
            middle = left + width / 2, bottom + height / 2
            axes.text(*middle, row.name, fontsize=5, ha="center", va="center", rotation=turn)
    axes.set_xlim(frame["first_step"].min() - 0.6, frame["last_step"].max() + 0.6)
    axes.set_ylim(0, total_bytes / 1024 * 1.05)
    axes.axhline(total_bytes / 1024, color="#777777", linestyle="--", linewidth=0.9)
    axes.set_xlabel("step of the network")
    axes.set_ylabel("arena (KiB)")
    for kind, colour in colours.items():
        axes.plot([], [], "s", color=colour, label=kind)
    legend_above(figure, axes)
    return figure


def _label_turn(letters: int, width: float, height: float) -> int | None:
    """Degrees by which a label is turned to fit a rectangle, given as shares of the axes' sides;
    None: it fits in no way."""
    width_in, height_in = (
        _INSIDE * share * side
        for share, side in ((width, _ARENA_WIDTH_IN), (height, _ARENA_HEIGHT_IN))
    )
    length_in = letters * _LETTER_IN
    if length_in <= width_in and height_in >= _LINE_IN:
        return 0
    return 90 if length_in <= height_in and width_in >= _LINE_IN else None
