"""Options that several commands share, each defined once."""

from __future__ import annotations

from typing import Annotated

import typer

from mcuq_lab.board import DEFAULT_BOARD

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]
Model = Annotated[
    str, typer.Option("--model", help="Network of the zoo, or an .npz file of your own.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data", help="digits, cifar10, a folder with CIFAR-10 files, or an .npz file of your own."
    ),
]
BoardId = Annotated[str, typer.Option("--board", help="Id of the board (see `mcuq boards`).")]
Probe = Annotated[
    str | None, typer.Option("--probe", help="Unique id of the probe, or a unique part of it.")
]
Simulated = Annotated[
    bool, typer.Option("--simulated", help="Use the simulated board even if a real one is there.")
]
ClockName = Annotated[str, typer.Option("--clock", help="Clock option of the board: reset, max.")]
ArenaBytes = Annotated[
    int | None,
    typer.Option(
        help="Budget of LiteEngine's arena; where it demands it, some layers run in strips."
    ),
]
FlashBytes = Annotated[
    int | None,
    typer.Option(
        help="Budget of the image (of an export: of the network's code and constants, estimated); "
        "LiteEngine shares kernels to keep it."
    ),
]
LowerLevel = Annotated[
    str, typer.Option(help="SGD below each policy: none, steps, weights_and_steps.")
]
Batches = Annotated[int, typer.Option(help="Mini-batches of that SGD.")]
Resume = Annotated[str | None, typer.Option(help="Go on with this run (its id, or its directory).")]
Seed = Annotated[int, typer.Option("--seed", help="Decides everything that is drawn.")]

BOARD = DEFAULT_BOARD
MODEL = "resnet8"
DATA = "digits"
