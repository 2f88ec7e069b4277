"""Colours and sizes of the profile's figures.

Colours are Okabe and Ito's (Color Universal Design, 2008), which readers with any common form of
colour blindness tell apart. What is no stall is grey.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from textwrap import wrap
from typing import ParamSpec

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

LOOKS = {
    "issue_cycles": ("#C4C4C4", "instructions start"),
    "execute_cycles": ("#009E73", "long arithmetic"),
    "load_use_cycles": ("#E69F00", "load-use"),
    "memory_cycles": ("#0072B2", "further words, busy memory"),
    "branch_cycles": ("#CC79A7", "branch refill"),
    "fetch_cycles": ("#56B4E9", "fetch"),
    "code_wait_cycles": ("#D55E00", "wait for code"),
    "data_wait_cycles": ("#F0E442", "wait for data"),
}
"""Colour and label of each column of cycles by cause."""

OUTSIDE_COLOUR, OUTSIDE_LABEL = "#000000", "no instruction"
FRAME_COLOUR, EDGE_COLOUR = "#F2F2F2", "#777777"
SMALL_PRINT, TITLE_SIZE = 6, 8
INCHES_PER_LETTER = 0.6 * SMALL_PRINT / 72
"""Of small print, somewhat more than the mean."""

# Small enough for a column of a paper; text stays text in vector output.
_STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 220,
    "savefig.bbox": "tight",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draws in this style: matplotlib reads its settings when an artist is made."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with plt.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return in_style


def title_above(figure: Figure, title: str) -> None:
    """A title over the whole figure, in as many lines as it needs."""
    letters = int(figure.get_figwidth() / (INCHES_PER_LETTER * TITLE_SIZE / SMALL_PRINT))
    figure.suptitle("\n".join(wrap(title, letters)), fontsize=TITLE_SIZE)


def legend_of_causes(figure: Figure, columns: list[str], with_outside: bool) -> None:
    """One legend below the axes, in as many columns as fit, of the causes that there are."""
    handles = [Patch(color=LOOKS[column][0], label=LOOKS[column][1]) for column in columns]
    if with_outside:
        handles.append(Patch(color=OUTSIDE_COLOUR, label=OUTSIDE_LABEL))
    fit = max(1, int(figure.get_figwidth() / 1.6))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(fit, max(1, len(handles))))
