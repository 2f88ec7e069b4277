"""`mcuq bench search`: search methods beside each other, on tables or in whole spaces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, command_line, emit, stdout_is_stderr
from mcuq_lab.errors import ConfigError
from mcuq_lab.report import curve_figure
from mcuq_lab.results import RUNS_DIR, provenance, read_rows, write_atomically
from mcuq_lab.results.store import REPOSITORY
from mcuq_lab.rlquant import METHODS, LowerLevelConfig, SearchConfig
from mcuq_lab.rlquant.evaluation import Evaluator, load_evaluator
from mcuq_lab.rlquant.search_benchmark import (
    MOST_EVALUATIONS,
    curve_frame,
    joint_hypervolume,
    run_once,
    search_configs,
    summarize,
    table_hypervolume,
    table_problem,
)
from mcuq_lab.rlquant.tabular import TabularEvaluator

TABLES = REPOSITORY / "results" / "reference" / "tables"
_LOOKED_UP = "looked up in a table, so that seconds are those of the methods alone"
_TOGETHER = "missing: of what all these searches found together"


@dataclass(frozen=True, eq=False)
class _Problem:
    """What methods are compared on.

    Attributes:
        name: of its figure.
        config: what all its searches have in common.
        evaluator: gives who evaluates, always the same.
        table: the policies there are, if they are looked up.
    """

    name: str
    config: SearchConfig
    evaluator: Callable[[], Evaluator]
    table: TabularEvaluator | None = None


@command
def search(
    table: Annotated[
        list[Path] | None,
        typer.Option(help="A table; default: all of results/reference/tables."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="Search the whole space of this network of the zoo instead, measuring."),
    ] = "",
    data: options.Data = options.DATA,
    board: options.BoardId = options.BOARD,
    lower_level: options.LowerLevel = "none",
    batches: options.Batches = LowerLevelConfig.batches,
    threads: Annotated[int, typer.Option(help="Threads of torch, where policies are measured.")] = (
        LowerLevelConfig.threads
    ),
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    method: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    seeds: Annotated[int, typer.Option(help="Searches of each method.")] = 5,
    evaluations: Annotated[
        int, typer.Option(help="Policies a search; at most half of a table.")
    ] = MOST_EVALUATIONS,
    runs: Annotated[
        Path, typer.Option(help="Where the searches lie; finished ones are not run again.")
    ] = RUNS_DIR / "bench-search",
    output: Annotated[Path | None, typer.Option(help="Also write the rows to this file.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for a figure of each problem, PNG and SVG.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document to stdout.")
    ] = False,
) -> None:
    """Hypervolume of search methods at equal numbers of evaluations, on tables of policies, or with
    --model in all policies of a network, each measured when a search asks for it.

    Interrupt at any time; the same command goes on.
    """
    if model and table:
        raise ConfigError("Compare methods on a --table, or on a --model without one; not both.")
    with stdout_is_stderr():
        if model:
            config = SearchConfig(
                model=model,
                data=data,
                board=board,
                probe=probe or "",
                simulated=simulated,
                evaluations=evaluations,
                lower_level=LowerLevelConfig(mode=lower_level, batches=batches, threads=threads),
            )
            problems = _measured(config)
        else:
            problems = _tables(table or sorted(TABLES.glob("*.parquet")), evaluations)
        rows = []
        for problem in problems:
            rows += _compared(problem, method or tuple(METHODS), seeds, runs, figures)
        if output is not None:
            document = {"command": command_line(), **provenance(), "rows": rows}
            write_atomically(output, (json.dumps(document, indent=1) + "\n").encode())
    columns = ("model", "data", "method", "evaluations", "hypervolume_median", "hypervolume_q1")
    columns += ("hypervolume_q3", "hypervolume_table", "seconds_median")
    emit(rows, as_json, columns)


def _tables(paths: Sequence[Path], evaluations: int) -> Iterator[_Problem]:
    if not paths:
        raise ConfigError(f"There are no tables in {TABLES}; make one with `mcuq tabulate`.")
    for path in paths:
        evaluator = TabularEvaluator(path)
        config = table_problem(path, evaluator, evaluations)
        yield _Problem(path.stem, config, lambda evaluator=evaluator: evaluator, evaluator)


def _measured(config: SearchConfig) -> Iterator[_Problem]:
    """All policies of a network; one board serves all searches, opened when the first needs it."""
    with ExitStack() as stack:

        @cache
        def evaluator() -> Evaluator:
            return stack.enter_context(closing(load_evaluator(config)))

        yield _Problem(f"{config.model_name}-{config.data_name}-whole", config, evaluator)


def _compared(
    problem: _Problem, methods: Sequence[str], seeds: int, runs: Path, figures: Path | None
) -> list[dict]:
    """Rows of the methods on a problem, whose figure is drawn into `figures`."""
    configs = list(search_configs(problem.config, methods, seeds))
    run_dirs = [
        run_once(config, runs, problem.evaluator, command_line(), any_length=True)
        for config in tqdm(configs, desc=problem.name, unit="search")
    ]
    curves = curve_frame(run_dirs, problem.config.evaluations)
    most = None if problem.table is None else table_hypervolume(problem.table, run_dirs[0])
    if figures is not None:
        remark, best = _LOOKED_UP, most
        if most is None:
            remark, best = _TOGETHER, joint_hypervolume(run_dirs, problem.config.evaluations)
        row = next(row for row in read_rows(run_dirs[0]) if row.ok)
        figure = curve_figure(
            curves, board=row.board, simulated=row.simulated, remark=remark, most=best
        )
        figures.mkdir(parents=True, exist_ok=True)
        for suffix in ("png", "svg"):
            figure.savefig(figures / f"search-{problem.name}.{suffix}")
    return [asdict(row) for row in summarize(curves, problem.config, most)]
