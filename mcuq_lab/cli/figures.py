"""`mcuq figures`: the bars of speed-up and memory, from a file of model benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.cli.output import command, new_app, stdout_is_stderr
from mcuq_lab.errors import ConfigError
from mcuq_lab.figures import memory_figure, speedup_figure
from mcuq_lab.frames import model_frame

BASELINE = "CMSIS-NN (re-implementation), w8a8"

app = new_app()


@app.command()
@command
def figures(
    models: Annotated[Path, typer.Argument(help="What `mcuq bench models --output` wrote.")],
    folder: Annotated[Path, typer.Argument(help="Where the pictures go.")],
    policy: Annotated[
        list[str] | None, typer.Option(help="Policies of the sub-byte engines to show.")
    ] = None,
) -> None:
    """Draws speed-up over CMSIS-NN, and peak SRAM and flash, of every model and engine."""
    with stdout_is_stderr():
        frame = model_frame(_read(models))
        shown = frame["policy"].isin(policy or ("w8a8", "w4a4", "w2a2"))
        drawn = {
            "speedup": speedup_figure(frame[shown], baseline=BASELINE),
            "memory": memory_figure(frame[shown]),
        }
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{name}{suffix}" for name in drawn for suffix in (".png", ".svg")]
        for path in paths:
            drawn[path.stem].savefig(path)
    for path in paths:
        typer.echo(path)


def _read(path: Path) -> dict:
    try:
        document = json.loads(path.read_text())
        if not document["rows"]:
            raise ValueError("no rows")
        return document
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no model benchmarks ({error}); "
            "make it with `mcuq bench models --output FILE`."
        ) from error
