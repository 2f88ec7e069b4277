"""`mcuq bench search`: search methods beside each other, on tables."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from tqdm import tqdm

from mcuq_lab.cli.output import command, command_line, emit, stdout_is_stderr
from mcuq_lab.errors import ConfigError
from mcuq_lab.report import curve_figure
from mcuq_lab.results import RUNS_DIR, provenance, write_atomically
from mcuq_lab.results.store import REPOSITORY
from mcuq_lab.rlquant import METHODS
from mcuq_lab.rlquant.search_benchmark import (
    MOST_EVALUATIONS,
    curve_frame,
    run_once,
    search_configs,
    summarize,
)
from mcuq_lab.rlquant.tabular import TabularEvaluator

TABLES = REPOSITORY / "results" / "reference" / "tables"


@command
def search(
    table: Annotated[
        list[Path] | None, typer.Option(help="A table; default: all of results/reference/tables.")
    ] = None,
    method: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    seeds: Annotated[int, typer.Option(help="Searches of each method.")] = 5,
    evaluations: Annotated[
        int, typer.Option(help="Policies a search; at most half of the table.")
    ] = MOST_EVALUATIONS,
    runs: Annotated[
        Path, typer.Option(help="Where the searches lie; finished ones are not run again.")
    ] = RUNS_DIR / "bench-search",
    output: Annotated[Path | None, typer.Option(help="Also write the rows to this file.")] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for a figure of each table, PNG and SVG.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document to stdout.")
    ] = False,
) -> None:
    """Hypervolume of search methods at equal numbers of evaluations, on tables of policies."""
    with stdout_is_stderr():
        tables = table or sorted(TABLES.glob("*.parquet"))
        if not tables:
            raise ConfigError(f"There are no tables in {TABLES}; make one with `mcuq tabulate`.")
        rows = []
        for path in tables:
            evaluator = TabularEvaluator(path)
            configs = list(
                search_configs(path, evaluator, method or tuple(METHODS), seeds, evaluations)
            )
            run_dirs = [
                run_once(config, runs, evaluator, command_line())
                for config in tqdm(configs, desc=path.stem, unit="search")
            ]
            curves = curve_frame(run_dirs)
            found = summarize(curves, evaluator, run_dirs[0], configs[0].evaluations)
            rows += [asdict(row) for row in found]
            if figures is not None:
                most = found[0].hypervolume_table
                _draw(curves, evaluator, most, figures / f"search-{path.stem}")
        if output is not None:
            document = {"command": command_line(), **provenance(), "rows": rows}
            write_atomically(output, (json.dumps(document, indent=1) + "\n").encode())
    columns = ("model", "data", "method", "evaluations", "hypervolume_median", "hypervolume_q1")
    columns += ("hypervolume_q3", "hypervolume_table", "seconds_median")
    emit(rows, as_json, columns)


def _draw(curves: pd.DataFrame, evaluator: TabularEvaluator, most: float, path: Path) -> None:
    row = next(row for row in evaluator.rows.values() if row.ok)
    remark = "looked up in a table, so that seconds are those of the methods alone"
    figure = curve_figure(
        curves, board=row.board, simulated=row.simulated, remark=remark, most=most
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix))
