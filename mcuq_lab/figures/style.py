"""Colours, markers and labels that all figures share.

The palette is Okabe and Ito's (Color Universal Design, 2008), which readers with any common form of
colour blindness tell apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("mcuq.mplstyle")

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
VERMILION, SKY, YELLOW, BLACK, GREY = "#D55E00", "#56B4E9", "#F0E442", "#000000", "#999999"
_CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW, GREY)
_LETTERS_PER_INCH = 17
"""At the style's legend size."""

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")


P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in the house style: matplotlib reads its style when an artist is made."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.style.context(STYLE):
            return draw(*args, **kwargs)

    return in_style


def new_figure(columns: int, *, rows: int = 1, width_in: float = 7.2, height_in: float = 2.5):
    """A figure and its flat list of axes."""
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def look_of(series: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(colour, marker) for each series, stable in the order given."""
    return {
        name: (_CYCLE[i % len(_CYCLE)], _MARKERS[i % len(_MARKERS)])
        for i, name in enumerate(dict.fromkeys(series))
    }


def origin(simulated: bool) -> str:
    """How a legend says where rows come from."""
    return "simulated" if simulated else "measured"


def labelled(frame: pd.DataFrame) -> pd.DataFrame:
    """`frame` with column `label`: series and origin, so that simulated and measured rows never
    share one."""
    return frame.assign(
        label=[
            f"{series} ({origin(simulated)})"
            for series, simulated in zip(frame["series"], frame["simulated"], strict=True)
        ]
    )


def provenance(frame: pd.DataFrame) -> str:
    """One line below a figure: boards, clock, wait states, compiler."""
    parts = []
    for board, rows in frame.groupby("board", sort=True):
        first = rows.iloc[0]
        kind = " and ".join(sorted({origin(bool(value)) for value in rows["simulated"]}))
        parts.append(
            f"{board} ({kind}), {first['sysclk_hz'] / 1e6:g} MHz, "
            f"{first['flash_wait_states']} wait states"
        )
    return "; ".join(parts)


def footnote(figure: Figure, text: str) -> None:
    """Small print below the axes."""
    figure.supxlabel(text, fontsize=6, color="#555555")


def legend_above(figure: Figure, axes: Axes) -> None:
    """One legend for the whole figure, in as many columns as fit its width."""
    handles, labels = axes.get_legend_handles_labels()
    widest = max(map(len, labels)) + 5  # the marker takes the room of some letters
    columns = int(figure.get_figwidth() * _LETTERS_PER_INCH // widest)
    figure.legend(
        handles, labels, loc="outside upper center", ncols=max(1, min(columns, len(labels)))
    )
