"""`mcuq search`: a bit-width search, from its start or from where it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, command_line, emit, new_app, say, stdout_is_stderr
from mcuq_lab.report import front_of
from mcuq_lab.results import RUNS_DIR
from mcuq_lab.rlquant import METHODS, LowerLevelConfig, SearchConfig, new_run, prolong, run_search

app = new_app()


@app.command()
@command
def search(
    model: options.Model = options.MODEL,
    board: options.BoardId = options.BOARD,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "rlquant",
    evaluations: Annotated[
        int | None,
        typer.Option(
            help="Policies measured on the board; with --resume, how many there are to be then. "
            f"[default: {SearchConfig.evaluations}]"
        ),
    ] = None,
    data: options.Data = options.DATA,
    budget_sram_bytes: Annotated[int | None, typer.Option(help="Hard limit of peak SRAM.")] = None,
    budget_flash_bytes: Annotated[int | None, typer.Option(help="Hard limit of flash.")] = None,
    budget_latency_ms: Annotated[float | None, typer.Option(help="Hard limit of latency.")] = None,
    accuracy_drop: Annotated[
        float,
        typer.Option(
            help="Look at policies that lose less than this share of accuracy: 0.05 keeps a search "
            "near the float network, 0.4 draws the whole front."
        ),
    ] = SearchConfig.reference_accuracy_drop,
    arena_bytes: options.ArenaBytes = None,
    lower_level: options.LowerLevel = LowerLevelConfig.mode,
    batches: options.Batches = LowerLevelConfig.batches,
    boards: Annotated[
        int, typer.Option(help="Boards that work at the same time; rows do not depend on it.")
    ] = 1,
    ray_address: Annotated[
        str, typer.Option(help="Ray cluster that has the boards; default: this machine.")
    ] = "",
    threads: Annotated[
        int, typer.Option(help="Threads of torch a board; the last digits depend on them.")
    ] = LowerLevelConfig.threads,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    seed: options.Seed = 0,
    resume: options.Resume = None,
    as_json: options.Json = False,
) -> None:
    """Searches bit-width policies; every policy is generated, built, flashed and measured.

    Interrupt at any time, and go on later with --resume; a finished search, too, goes on for more
    --evaluations.
    """
    with stdout_is_stderr():
        if resume is None:
            config = SearchConfig(
                model=model,
                data=data,
                board=board,
                clock=clock,
                probe=probe or "",
                simulated=simulated,
                method=method,
                evaluations=SearchConfig.evaluations if evaluations is None else evaluations,
                seed=seed,
                budget_sram_bytes=budget_sram_bytes,
                budget_flash_bytes=budget_flash_bytes,
                budget_latency_ms=budget_latency_ms,
                arena_bytes=arena_bytes,
                reference_accuracy_drop=accuracy_drop,
                boards=boards,
                ray_address=ray_address,
                lower_level=LowerLevelConfig(mode=lower_level, batches=batches, threads=threads),
            )
            run_dir = new_run(config, command=command_line())
        else:
            run_dir = find_run(resume)
            if evaluations is not None:
                prolong(run_dir, evaluations)
        say(f"run {run_dir.name} (interrupt at will; go on with --resume {run_dir.name})")
        progress = run_search(run_dir)
        front = front_of(run_dir)
    document = {
        "run": str(run_dir),
        "evaluations": progress.evaluations,
        "front": front.to_dict("records"),
        "hypervolume": progress.hypervolume,
    }
    if as_json:
        emit(document, True)
    else:
        emit(document["front"], False)
        say(f"hypervolume {progress.hypervolume:.4f}; figures: mcuq report {run_dir.name}")


def find_run(text: str) -> Path:
    """A run by its directory, or by its id under results/runs."""
    path = Path(text)
    return path if path.is_dir() else RUNS_DIR / text
