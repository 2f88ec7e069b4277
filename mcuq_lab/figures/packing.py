"""Operand packing: who stands where in the registers, and what it can reach at each width."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mcuq_lab.figures.style import BLUE, GREEN, ORANGE, new_figure, styled

_COLOURS = {"activations": BLUE, "weights": ORANGE, "accumulator": GREEN}
_LETTERS = 115
"""Letters of a label that fit the width of the figure."""


@styled
def packing_figure(frame: pd.DataFrame) -> Figure:
    """Registers as rows of bits, the lowest on the right; what a field holds stands in it.

    `frame` has one row a field: register (`activations`, `weights`, `accumulator`), word, size_bits
    (of the register), low and bits (of the field), label.
    """
    registers = list(frame.groupby(["register", "word"], sort=False))
    figure, (axes,) = new_figure(1, height_in=0.5 + 0.45 * len(registers))
    widest = frame["size_bits"].max()
    for y, ((register, _), fields) in enumerate(reversed(registers)):
        axes.add_patch(Rectangle((0, y), fields["size_bits"].iloc[0], 0.7, facecolor="#f2f2f2"))
        for row in fields.itertuples():
            axes.add_patch(
                Rectangle(
                    (row.low, y),
                    row.bits,
                    0.7,
                    facecolor=_COLOURS[register],
                    edgecolor="white",
                    alpha=0.55,
                )
            )
            middle = row.low + row.bits / 2
            fits = len(row.label) * widest <= row.bits * _LETTERS
            axes.text(
                middle, y + 0.35, row.label if fits else "..", size=6, ha="center", va="center"
            )
            axes.text(row.low, y - 0.03, row.low, size=5, ha="center", va="top", color="#555555")
    axes.set_yticks(np.arange(len(registers)) + 0.35, [key[0] for key, _ in reversed(registers)])
    axes.set_xlim(widest, 0)
    axes.set_ylim(-0.25, len(registers))
    axes.set_xlabel("bit")
    axes.grid(False)
    axes.tick_params(length=0)
    return figure


@styled
def packing_limit_figure(frame: pd.DataFrame) -> Figure:
    """What packings can reach at each pair of widths, as a table in colours.

    `frame` has one row a pair: w_bits, a_bits, macs_per_cycle, operands (`3x3`: activations by
    weights of one multiplication).
    """
    figure, (axes,) = new_figure(1, width_in=3.6, height_in=3.0)
    rates = frame.pivot(index="w_bits", columns="a_bits", values="macs_per_cycle")
    operands = frame.pivot(index="w_bits", columns="a_bits", values="operands")
    image = axes.imshow(rates, cmap="cividis", origin="lower", vmin=0)
    middle = float(rates.max().max()) / 2
    for y, x in np.ndindex(rates.shape):
        colour = "black" if rates.iat[y, x] > middle else "white"
        text = f"{rates.iat[y, x]:.1f}\n{operands.iat[y, x]}"
        axes.text(x, y, text, size=5, ha="center", va="center", color=colour)
    axes.set_xticks(range(len(rates.columns)), rates.columns)
    axes.set_yticks(range(len(rates.index)), rates.index)
    axes.set_xlabel("bits of an activation")
    axes.set_ylabel("bits of a weight")
    axes.grid(False)
    figure.colorbar(image, ax=axes, label="MAC per cycle, at most")
    return figure
