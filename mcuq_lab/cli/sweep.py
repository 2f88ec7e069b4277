"""`mcuq sweep`: searches with each method, seed and budget, as trials of Ray Tune."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, command_line, emit, new_app, stdout_is_stderr
from mcuq_lab.results import RUNS_DIR, provenance, write_atomically
from mcuq_lab.rlquant import METHODS, LowerLevelConfig, SearchConfig
from mcuq_lab.rlquant.config import ALGORITHMS
from mcuq_lab.rlquant.search_benchmark import EVALUATOR
from mcuq_lab.rlquant.sweep import SweepConfig, run_sweep, summarize_sweep
from mcuq_lab.rlquant.tabular import TabularEvaluator

app = new_app()

COLUMNS = ("method", "algorithm", "evaluations", "budget_sram_bytes", "budget_latency_ms", "seeds")
COLUMNS += ("failed", "hypervolume_median", "hypervolume_q1", "hypervolume_q3", "seconds_median")


@app.command()
@command
def sweep(
    model: options.Model = options.MODEL,
    data: options.Data = options.DATA,
    board: options.BoardId = options.BOARD,
    method: Annotated[
        list[str] | None, typer.Option(help=f"Several times: {', '.join(METHODS)}.")
    ] = None,
    algorithm: Annotated[
        list[str] | None, typer.Option(help=f"Of rlquant's agent: {', '.join(ALGORITHMS)}.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Searches of each combination.")] = 5,
    evaluations: Annotated[list[int] | None, typer.Option(help="Policies; several times.")] = None,
    budget_sram_bytes: Annotated[
        list[int] | None, typer.Option(help="Hard limit of peak SRAM; several times.")
    ] = None,
    budget_flash_bytes: Annotated[
        list[int] | None, typer.Option(help="Hard limit of flash; several times.")
    ] = None,
    budget_latency_ms: Annotated[
        list[float] | None, typer.Option(help="Hard limit of latency; several times.")
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="A table that answers instead of a board.")
    ] = None,
    evaluator: Annotated[
        str, typer.Option(help="Who evaluates: import path of a function, module:function.")
    ] = SearchConfig.evaluator,
    lower_level: options.LowerLevel = LowerLevelConfig.mode,
    batches: options.Batches = LowerLevelConfig.batches,
    threads: Annotated[
        int, typer.Option(help="Threads of torch a board; the last digits depend on them.")
    ] = LowerLevelConfig.threads,
    simulated: options.Simulated = False,
    boards: Annotated[int, typer.Option(help="Searches at the same time, a board each.")] = 1,
    ray_address: Annotated[
        str, typer.Option(help="Ray cluster that has the boards; default: this machine.")
    ] = "",
    folder: Annotated[
        Path, typer.Option(help="Where the runs lie; what is finished is not run again.")
    ] = RUNS_DIR / "sweep",
    output: Annotated[Path | None, typer.Option(help="Also write the rows to this file.")] = None,
    as_json: options.Json = False,
) -> None:
    """Searches with each method, seed and budget; each search is an ordinary run.

    Interrupt at will: the same command goes on.
    """
    with stdout_is_stderr():
        if table is not None:
            found = TabularEvaluator(table).config
            base = replace(found, evaluator=EVALUATOR, table=str(table.resolve()))
        else:
            lower = LowerLevelConfig(mode=lower_level, batches=batches, threads=threads)
            base = SearchConfig(
                model=model,
                data=data,
                board=board,
                simulated=simulated,
                evaluator=evaluator,
                lower_level=lower,
            )
        config = SweepConfig(
            base,
            methods=tuple(method or SweepConfig.methods),
            algorithms=tuple(algorithm or SweepConfig.algorithms),
            seeds=seeds,
            evaluations=tuple(evaluations or SweepConfig.evaluations),
            budget_sram_bytes=tuple(budget_sram_bytes or (None,)),
            budget_flash_bytes=tuple(budget_flash_bytes or (None,)),
            budget_latency_ms=tuple(budget_latency_ms or (None,)),
        )
        trials = run_sweep(
            config, folder, boards=boards, address=ray_address, command=command_line()
        )
        rows = [asdict(row) for row in summarize_sweep(list(config.searches()), trials)]
        if output is not None:
            document = {"command": command_line(), **provenance(), "rows": rows}
            write_atomically(output, (json.dumps(document, indent=1) + "\n").encode())
    emit(rows, as_json, COLUMNS)
