"""The `mcuq` command: one line for each door of the workbench."""

from __future__ import annotations

import logging
from importlib import import_module

import click
import typer
from typer.core import TyperGroup

COMMANDS = {
    "boards": "Lists every board: simulated, and real where its probe is plugged in.",
    "measure": "Quantizes a network, generates, builds, flashes and runs it; prints cycles, "
    "bytes, accuracy.",
    "tune": "Measures LiteEngine's kernels for a network on the board, and keeps what it learns.",
    "profile": "Runs one inference on the simulated board; prints cycles by function, block and "
    "cause.",
    "bench": "Benchmarks: single layers, whole models, searches.",
    "qat": "Trains a network at its policy and stores it; afterwards the other commands use it.",
    "search": "Searches bit-width policies; every policy is generated, built, flashed and "
    "measured.",
    "sweep": "Searches with each method, seed and budget; each search is an ordinary run.",
    "tabulate": "Measures every policy of a network with tied layers; a table for searches.",
    "finalize": "Trains the best policies of a search in full; test accuracy, board and C follow.",
    "report": "Draws the run's figures, writes its summary page, and prints their paths.",
    "claims": "Says of each claim whether it was reached, missed, or beaten by another engine.",
    "figures": "Draws speed and memory of every model and engine, beside the claims of the poster.",
    "export": "Writes the network's C for any firmware project: model.c, model.h, README.",
    "demo": "A small RLQuant search on the simulated board, drawn against the baseline.",
    "doctor": "Checks packages, toolchain, boards, probes and permissions; says how to mend "
    "what is not.",
}
"""By name, with the first sentence of their help: to show that, none of them is imported."""

_SUMMARIES = "mcuq.summaries"
"""Set while the list of commands is shown."""


class LazyGroup(TyperGroup):
    """Imports a command's module when it is called: torch and Ray take seconds to load."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        ctx.meta[_SUMMARIES] = True
        super().format_help(ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if ctx.meta.get(_SUMMARIES):
            return click.Command(cmd_name, help=COMMANDS[cmd_name])
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
