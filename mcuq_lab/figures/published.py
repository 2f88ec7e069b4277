"""Latencies that others have published, as marks beside rows measured here."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from mcuq_lab.figures.style import BLUE, VERMILION, footnote, new_figure, origin, styled


@styled
def published_figure(
    frame: pd.DataFrame, published: pd.DataFrame, *, source: str, caveat: str
) -> Figure:
    """Milliseconds of one inference of one network; published marks are hollow and dotted.

    Both sides run at their boards' own clock with flash wait states, so no ratio is drawn.

    Args:
        frame: rows as `frames.model_frame` gives them, at a clock with wait states, of one model.
        published: rows as `frames.published_frame` gives them.
        source, caveat: of `published`, for the line below.

    Raises:
        ValueError: rows without flash wait states, or of several networks.
    """
    if (frame["flash_wait_states"] == 0).any():
        raise ValueError("Published latencies include flash wait states; measure at --clock max.")
    if frame["model"].nunique() != 1:
        raise ValueError("Published latencies are those of one network; choose its rows.")
    ours = [
        (
            1e3 * row.cycles / row.sysclk_hz,
            f"{row.series}, {row.board} ({origin(row.simulated)}), {row.sysclk_hz / 1e6:g} MHz",
            row.cycles,
            True,
        )
        for row in frame.itertuples()
    ]
    theirs = [
        (
            row.latency_ms,
            f"{row.stack}, {row.board}, {row.core}, {row.clock_mhz} MHz, {row.round}",
            row.cycles,
            False,
        )
        for row in published.itertuples()
    ]
    lines = sorted((*ours, *theirs), reverse=True)
    figure, (axes,) = new_figure(1, width_in=7.2, height_in=1.1 + 0.2 * len(lines))
    for y, (latency_ms, _, cycles, own) in enumerate(lines):
        colour, style = (BLUE, "-") if own else (VERMILION, ":")
        axes.plot([0, latency_ms], [y, y], color=colour, linestyle=style, linewidth=1.2)
        axes.plot(latency_ms, y, "o", color=colour, markerfacecolor=colour if own else "white")
        axes.annotate(
            f"{latency_ms:.0f} ms ({cycles / 1e6:.1f} M cycles)",
            (latency_ms, y),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=6.5,
        )
    axes.set_yticks(range(len(lines)), [line[1] for line in lines])
    axes.set_xlim(0, 1.5 * lines[0][0])
    axes.grid(False, axis="y")
    axes.set_xlabel(f"latency of {frame['model'].iloc[0]} (ms), each board at its own clock")
    axes.plot([], [], "o-", color=BLUE, label=origin(bool(frame["simulated"].iloc[0])) + " here")
    axes.plot(
        [], [], "o:", color=VERMILION, markerfacecolor="white", label="published (MLPerf Tiny)"
    )
    axes.legend(loc="upper right")
    states = ", ".join(str(n) for n in sorted(set(frame["flash_wait_states"])))
    footnote(
        figure,
        f"Filled: {states} flash wait states. Hollow: {caveat};\n{source}.",
    )
    return figure
