"""`mcuq doctor`: is the bench complete?"""

from __future__ import annotations

from dataclasses import asdict

import typer

from mcuq_lab.cli.options import Json
from mcuq_lab.cli.output import FAILURE, command, emit, new_app, stdout_is_stderr
from mcuq_lab.doctor import examine

app = new_app()


@app.command()
@command
def doctor(as_json: Json = False) -> None:
    """Checks packages, toolchain, boards, probes and permissions; says how to mend what is not."""
    with stdout_is_stderr():
        checks = [asdict(check) for check in examine()]
    emit(checks, as_json, ("check", "ok", "detail", "fix"))
    if not all(check["ok"] for check in checks):
        raise typer.Exit(FAILURE)
