"""The `mcuq` command: one line for each door of the workbench."""

from __future__ import annotations

import logging
from importlib import import_module

import click
import typer
from typer.core import TyperGroup

COMMANDS = (
    "boards",
    "measure",
    "tune",
    "profile",
    "bench",
    "qat",
    "search",
    "sweep",
    "tabulate",
    "finalize",
    "report",
    "claims",
    "figures",
    "export",
    "demo",
    "doctor",
)


class LazyGroup(TyperGroup):
    """Imports a command's module when it is called: torch and Ray take seconds to load."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = typer.main.get_command(import_module(f"mcuq_lab.cli.{cmd_name}").app)
        found.name = cmd_name
        return found


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Small, fast CNNs on microcontrollers, with the board in the loop.",
)


@app.callback()
def mcuq() -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()
