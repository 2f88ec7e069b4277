"""What notebooks need besides the library: figures in cells, and a search to watch."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

from IPython.display import Image, display
from matplotlib.figure import Figure
from tqdm.auto import tqdm

from mcuq_lab.errors import ConfigError
from mcuq_lab.report import make_report
from mcuq_lab.rlquant import Progress, attach


def show(figure: Figure) -> None:
    """Puts a figure below the cell."""
    display(_image(figure))


def follow(run_dir: Path, baselines: Sequence[Path] = (), *, live: bool = True) -> Progress | None:
    """Watches a search: a bar, and the Pareto figure as it grows.

    Interrupting the cell detaches and leaves the search alone; calling this again attaches again.

    Args:
        run_dir: the run.
        baselines: baseline runs to draw beside it.
        live: whether the figure is drawn anew after each evaluation, or at the end only.

    Returns:
        The last progress seen, None if there was none.
    """
    canvas = display(display_id=True)
    progress = None
    drawn = 0
    with tqdm(unit="policy", desc="search") as bar:
        try:
            for progress in attach(run_dir):
                bar.total = progress.total
                bar.set_postfix(state=progress.state, hypervolume=f"{progress.hypervolume:.4f}")
                bar.update(progress.evaluations - bar.n)
                if progress.evaluations > drawn and (live or progress.final):
                    drawn = progress.evaluations
                    _redraw(canvas, run_dir, baselines)
        except KeyboardInterrupt:
            print(f"detached; the search goes on. follow() attaches again: {run_dir}")
    return progress


def _redraw(canvas, run_dir: Path, baselines: Sequence[Path]) -> None:
    with contextlib.suppress(ConfigError):  # no successful row yet: nothing to draw
        canvas.update(_image(make_report(run_dir, baselines).figures["pareto"]))


def _image(figure: Figure) -> Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image(data=buffer.getvalue())
