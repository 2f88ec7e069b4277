"""Figures of a profile: DataFrames in, Figure out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mcuq_lab.nucleosim.profile.style import (
    EDGE_COLOUR,
    FRAME_COLOUR,
    INCHES_PER_LETTER,
    LOOKS,
    OUTSIDE_COLOUR,
    OUTSIDE_LABEL,
    SMALL_PRINT,
    legend_of_causes,
    styled,
    title_above,
)
from mcuq_lab.nucleosim.profile.tables import CAUSE_COLUMNS, OUTSIDE

_THINNEST = 1 / 500
"""Share of the width below which a function or block is not drawn by itself."""
_LABELS_SHARE = 0.3
"""Of the width that the names of functions may take."""
_BAR_HEIGHT = 0.75
_BLOCKS_HEIGHT = 1.6
"""Of the row of blocks, where that of a function is 1."""


@styled
def flame_figure(
    paths: pd.DataFrame, blocks: pd.DataFrame, *, title: str, width_in: float = 7.2
) -> Figure:
    """Callers on top of callees, as wide as their cycles; below a function the blocks of its own.

    A block is as wide as its cycles, and split from bottom to top by cause. Where a function is
    called along several paths, its blocks have the same shares in each. Functions and blocks too
    narrow to see are left blank, or taken together.

    Args:
        paths: `Profile.call_tree()`, or some of its rows: then the first is the root.
        blocks: `Profile.blocks()`.
        title: `Profile.title`.
    """
    spans = _spans(paths)
    deepest = max(span.depth for span in spans)
    height_in = 1.3 + 0.26 * (deepest + 1 + _BLOCKS_HEIGHT)
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    total = spans[0].inclusive_cycles
    for span in spans:
        axes.add_patch(
            Rectangle(
                (span.left, span.depth),
                span.inclusive_cycles,
                1,
                facecolor=FRAME_COLOUR,
                edgecolor=EDGE_COLOUR,
                linewidth=0.4,
            )
        )
        _write(axes, span, total, width_in)
        if span.cycles:
            own = blocks[blocks["function"] == span.function]
            _draw_blocks(axes, span, own, span.cycles / max(1, own["cycles"].sum()), total)
    axes.set_xlim(0, total)
    factor, unit = _unit(total)
    axes.xaxis.set_major_formatter(lambda cycles, _: f"{cycles / factor:g}")
    axes.set_ylim(deepest + 1 + _BLOCKS_HEIGHT, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)
    title_above(figure, title)
    shown = blocks[blocks["function"].isin({span.function for span in spans})]
    legend_of_causes(figure, [name for name in CAUSE_COLUMNS if shown[name].any()], False)
    return figure


@styled
def causes_figure(
    functions: pd.DataFrame, *, title: str, most: int = 12, width_in: float = 7.2
) -> Figure:
    """A bar for each of the `most` expensive functions, its own cycles by cause, and their share.

    The rest are one bar. `functions` is `Profile.functions()`, `title` is `Profile.title`.
    """
    frame = _with_rest(functions, most)
    letters = int(width_in * _LABELS_SHARE / INCHES_PER_LETTER)
    labels = [_without_middle(name, letters) for name in frame["function"]]
    height_in = 1.2 + 0.2 * len(frame)
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    y = range(len(frame))
    factor, unit = _unit(frame["cycles"].max())
    left = pd.Series(0, index=frame.index)
    present = [column for column in CAUSE_COLUMNS if frame[column].any()]
    for column in present:
        axes.barh(
            y, frame[column] / factor, left=left / factor, color=LOOKS[column][0], height=0.75
        )
        left += frame[column]
    outside = frame["cycles"] - left
    if outside.any():
        look = {"color": OUTSIDE_COLOUR, "height": _BAR_HEIGHT}
        axes.barh(y, outside / factor, left=left / factor, **look)
    for index, row in enumerate(frame.itertuples()):
        axes.annotate(
            f"{row.share:.1%}",
            (row.cycles / factor, index),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL_PRINT,
        )
    axes.set_yticks(y, labels)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.02)
    axes.set_xlabel(f"{unit}, callees not included")
    title_above(figure, title)
    legend_of_causes(figure, present, bool(outside.any()))
    return figure


@dataclass(frozen=True)
class _Span:
    """A function along one path: where it is drawn."""

    function: str
    depth: int
    left: int
    cycles: int
    inclusive_cycles: int


def _spans(paths: pd.DataFrame) -> list[_Span]:
    """Callees beside each other below their caller, the most expensive first; then its blocks."""
    rows = list(paths.itertuples())
    root = rows[0]
    children: dict[int, list] = {}
    for row in rows[1:]:
        children.setdefault(row.parent, []).append(row)

    def below(row, left: int) -> Iterator[_Span]:
        yield _Span(row.function, row.depth - root.depth, left, row.cycles, row.inclusive_cycles)
        for child in sorted(
            children.get(row.node, ()), key=lambda child: child.inclusive_cycles, reverse=True
        ):
            if child.inclusive_cycles >= root.inclusive_cycles * _THINNEST:
                yield from below(child, left)
            left += child.inclusive_cycles

    return list(below(root, 0))


def _draw_blocks(axes: Axes, span: _Span, blocks: pd.DataFrame, share: float, total: int) -> None:
    """The function's own cycles, at the right end of it, in the row below."""
    left = span.left + span.inclusive_cycles - span.cycles
    narrow = blocks["cycles"] * share < total * _THINNEST
    parts = [*blocks[~narrow].itertuples(), blocks[narrow][["cycles", *CAUSE_COLUMNS]].sum()]
    for part in parts:
        width = part.cycles * share
        if not width:
            continue
        bottom = span.depth + 1 + _BLOCKS_HEIGHT
        for column in CAUSE_COLUMNS:
            height = _BLOCKS_HEIGHT * getattr(part, column) / part.cycles
            if height > 0:
                bottom -= height
                axes.add_patch(
                    Rectangle((left, bottom), width, height, color=LOOKS[column][0], linewidth=0)
                )
        axes.add_patch(
            Rectangle(
                (left, span.depth + 1),
                width,
                _BLOCKS_HEIGHT,
                fill=False,
                edgecolor="white",
                linewidth=0.4,
            )
        )
        left += width


def _write(axes: Axes, span: _Span, total: int, width_in: float) -> None:
    """The function's name and share, as far as they fit."""
    letters = int(width_in * 0.94 * span.inclusive_cycles / total / INCHES_PER_LETTER) - 1
    text = f"{span.function} {span.inclusive_cycles / total:.0%}"
    if len(text) > letters:
        text = _shortened(span.function, letters)
    if len(text) >= 3:
        middle = span.left + span.inclusive_cycles / 2
        axes.text(middle, span.depth + 0.5, text, ha="center", va="center", fontsize=SMALL_PRINT)


def _shortened(name: str, letters: int) -> str:
    return name if len(name) <= letters else name[: max(0, letters - 1)] + "…"


def _without_middle(name: str, letters: int) -> str:
    """Generated names often differ at their ends."""
    half = letters // 2
    return name if len(name) <= letters else f"{name[:half]}…{name[-half:]}"


def _unit(cycles: float) -> tuple[float, str]:
    """What to divide cycles by so that they are readable, and what to call them then."""
    if cycles < 1e4:
        return 1.0, "cycles"
    return (1e3, "thousand cycles") if cycles < 1e6 else (1e6, "million cycles")


def _with_rest(functions: pd.DataFrame, most: int) -> pd.DataFrame:
    frame = functions.assign(
        function=functions["function"].where(functions["function"] != OUTSIDE, OUTSIDE_LABEL)
    ).sort_values("cycles", ascending=False, kind="stable", ignore_index=True)
    if len(frame) <= most:
        return frame
    rest = frame[most:]
    row = rest.sum(numeric_only=True).to_dict() | {"function": f"{len(rest)} more"}
    return pd.concat([frame[:most], pd.DataFrame([row])], ignore_index=True)
