"""`mcuq export`: the generated C, for any firmware project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, new_app, say, stdout_is_stderr
from mcuq_lab.cli.prepare import PolicyText, prepare
from mcuq_lab.liteengine.export import export_c

app = new_app()


@app.command()
@command
def export(
    directory: Annotated[Path, typer.Argument(help="Folder for model.c, model.h and a README.")],
    model: options.Model = options.MODEL,
    policy: PolicyText = "w4a4",
    data: options.Data = options.DATA,
) -> None:
    """Writes the network's C for any firmware project: model.c, model.h, README."""
    with stdout_is_stderr():
        prepared = prepare(model, data, policy)
        export_c(prepared.quantized, directory)
    say(f"wrote {', '.join(sorted(path.name for path in directory.iterdir()))} to {directory}")
