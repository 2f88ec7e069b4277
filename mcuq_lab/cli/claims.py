"""`mcuq claims`: the poster's claims beside a file of model benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.claims_table import claims_document, claims_page
from mcuq_lab.cli.output import command, command_line, emit, new_app, stdout_is_stderr
from mcuq_lab.frames import read_model_rows
from mcuq_lab.results import write_atomically

app = new_app()


@app.command()
@command
def claims(
    models: Annotated[Path, typer.Argument(help="What `mcuq bench models --output` wrote.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Where claims.md and claims.json go, if anywhere.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON document.")] = False,
) -> None:
    """Says of each claim whether it was reached, missed, or beaten by another engine."""
    with stdout_is_stderr():
        document = read_model_rows(models)
        page = claims_page(document)
        found = {"command": command_line()} | claims_document(document)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / "claims.md", page.encode())
            write_atomically(folder / "claims.json", (json.dumps(found, indent=1) + "\n").encode())
    if as_json:
        emit(found, True)
    else:
        typer.echo(page)
