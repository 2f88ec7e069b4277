"""`mcuq figures`: the pictures of a file of model benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from matplotlib.figure import Figure

from mcuq_lab.cli.output import command, new_app, stdout_is_stderr
from mcuq_lab.figures import (
    claimed_memory_figure,
    claimed_speed_figure,
    memory_figure,
    networks_figure,
    published_figure,
    speedup_figure,
)
from mcuq_lab.frames import claims_frame, model_frame, published_frame, read_model_rows
from mcuq_lab.published import mlperf_tiny

BASELINE = "CMSIS-NN (re-implementation), w8a8"

app = new_app()


@app.command()
@command
def figures(
    models: Annotated[Path, typer.Argument(help="What `mcuq bench models --output` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where the pictures go.")],
    policy: Annotated[
        list[str] | None, typer.Option(help="Policies of the sub-byte engines to show in bars.")
    ] = None,
    full_clock: Annotated[
        Path | None,
        typer.Option(help="The same at `--clock max`, to be shown beside published latencies."),
    ] = None,
) -> None:
    """Draws speed and memory of every model and engine, beside the claims of the poster."""
    with stdout_is_stderr():
        document = read_model_rows(models)
        drawn = _drawn(document, policy or ["w8a8", "w4a4", "w2a2"])
        if full_clock is not None:
            published = mlperf_tiny()
            frame = model_frame(read_model_rows(full_clock))
            drawn["published"] = published_figure(
                frame[frame["model"] == published.network],
                published_frame(published),
                source=published.source,
                caveat=published.caveat,
            )
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}{suffix}" for name in drawn for suffix in (".png", ".svg")]
        for path in paths:
            drawn[path.stem].savefig(path)
    for path in paths:
        typer.echo(path)


def _drawn(document: dict, policies: list[str]) -> dict[str, Figure]:
    frame, judged = model_frame(document), claims_frame(document)
    shown = frame[frame["policy"].isin(policies)]
    drawn = {
        "speedup": speedup_figure(shown, baseline=BASELINE),
        "memory": memory_figure(shown),
        "claimed_speed": claimed_speed_figure(judged),
        "claimed_memory": claimed_memory_figure(judged),
    }
    if _has_accuracy(frame):
        drawn["networks"] = networks_figure(frame)
    return drawn


def _has_accuracy(frame: pd.DataFrame) -> bool:
    return "accuracy" in frame and bool(frame["accuracy"].notna().any())
