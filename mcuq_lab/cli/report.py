"""`mcuq report`: a run's figures and summary page."""

from __future__ import annotations

from typing import Annotated

import typer

from mcuq_lab.cli.output import command, new_app, stdout_is_stderr
from mcuq_lab.cli.search import find_run
from mcuq_lab.report import write_report

app = new_app()


@app.command()
@command
def report(
    run: Annotated[str, typer.Argument(help="A run's id, or its directory.")],
    beside: Annotated[
        list[str] | None, typer.Option("--with", help="Baseline run to draw beside it.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Search of the same problem, whose hypervolume is drawn beside its own."),
    ] = None,
) -> None:
    """Draws the run's figures, writes its summary page, and prints their paths."""
    with stdout_is_stderr():
        written = write_report(
            find_run(run),
            [find_run(text) for text in beside or ()],
            [find_run(text) for text in against or ()],
        )
    for path in written:
        typer.echo(path)
