"""`mcuq tabulate`: measures every policy of a restricted space, for `mcuq bench search`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, command_line, emit, new_app, say, stdout_is_stderr
from mcuq_lab.cli.search import find_run
from mcuq_lab.errors import ConfigError
from mcuq_lab.models import find_network
from mcuq_lab.policy import Policy
from mcuq_lab.rlquant import LowerLevelConfig, SearchConfig
from mcuq_lab.rlquant.tabular import CHOICES, new_table, tabulate, write_table

app = new_app()

_CHOICES = tuple(f"w{w}a{a}" for w, a in CHOICES)


@app.command("tabulate")
@command
def main(
    output: Annotated[Path, typer.Argument(help="The table: this name, .parquet and .json.")],
    model: options.Model = options.MODEL,
    data: options.Data = options.DATA,
    board: options.BoardId = options.BOARD,
    choice: Annotated[
        list[str] | None,
        typer.Option(help=f"A pair of widths, wide to narrow; default {', '.join(_CHOICES)}."),
    ] = None,
    ties: Annotated[
        str,
        typer.Option(
            help="Number of each layer's tie, from 0: 0,1,1,2; layers of one tie have one pair. "
            "Default: tied by stages."
        ),
    ] = "",
    lower_level: options.LowerLevel = LowerLevelConfig.mode,
    batches: options.Batches = LowerLevelConfig.batches,
    processes: Annotated[int, typer.Option(help="Evaluators that work at the same time.")] = 1,
    seed: options.Seed = 0,
    resume: options.Resume = None,
    as_json: options.Json = False,
) -> None:
    """Measures every policy of a network with tied layers; a table for searches.

    Interrupt at any time, and go on later with --resume.
    """
    with stdout_is_stderr():
        if resume is None:
            lower = LowerLevelConfig(mode=lower_level, batches=batches, threads=1)
            config = SearchConfig(model=model, data=data, board=board, seed=seed, lower_level=lower)
            pairs = [Policy.parse(text, 1).pairs[0] for text in choice or _CHOICES]
            graph = find_network(model, data).graph
            run_dir = new_table(config, graph, pairs, _numbers(ties), command=command_line())
        else:
            run_dir = find_run(resume)
        say(f"run {run_dir.name} (interrupt at will; go on with --resume {run_dir.name})")
        tabulate(run_dir, processes=processes)
        path = write_table(run_dir, output)
    emit({"run": str(run_dir), "table": str(path)}, as_json)


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if text]
    except ValueError:
        raise ConfigError(f"Ties '{text}' are not numbers; write for example 0,1,1,2.") from None
