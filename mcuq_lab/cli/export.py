"""`mcuq export`: the generated C, for any firmware project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, new_app, say, stdout_is_stderr
from mcuq_lab.cli.prepare import PolicyText, prepare
from mcuq_lab.liteengine.export import export_c
from mcuq_lab.target import Target
from mcuq_lab.tuning import tuning_table

app = new_app()


@app.command()
@command
def export(
    directory: Annotated[Path, typer.Argument(help="Folder for model.c, model.h and a README.")],
    model: options.Model = options.MODEL,
    policy: PolicyText = "w4a4",
    data: options.Data = options.DATA,
    board: options.BoardId = options.BOARD,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    arena_bytes: options.ArenaBytes = None,
    flash_bytes: options.FlashBytes = None,
) -> None:
    """Writes the network's C for any firmware project: model.c, model.h, README.

    The board decides the core, and kernels too if `mcuq tune` has measured them there.
    """
    with stdout_is_stderr():
        prepared = prepare(model, data, policy)
        with open_board(load_board(board), probe, simulated or None, clock) as session:
            table = tuning_table(session).read()
            target = Target.of(session.board, arena_bytes, flash_bytes)
        export_c(prepared.quantized, directory, measured_cycles=table, target=target)
    say(f"wrote {', '.join(sorted(path.name for path in directory.iterdir()))} to {directory}")
