"""`mcuq bench search`: every method, several seeds each, hypervolume along the way.

On tables, or in the whole space of a network, where a policy is measured when a search asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mcuq_lab.results import hypervolume, objectives, read_rows, read_run_info
from mcuq_lab.rlquant.config import AgentConfig, ProposalConfig, SearchConfig
from mcuq_lab.rlquant.curve import hypervolume_frame
from mcuq_lab.rlquant.evaluation import Evaluator
from mcuq_lab.rlquant.progress import read_progress
from mcuq_lab.rlquant.reference import reference_of
from mcuq_lab.rlquant.search import new_run, prolong, run_search
from mcuq_lab.rlquant.tabular import TabularEvaluator

MILESTONES = (25, 50, 100, 300)
MOST_EVALUATIONS = 300
EVALUATOR = "mcuq_lab.rlquant.tabular:make_evaluator"


@dataclass(frozen=True)
class SearchRow:
    """One method on one problem after so many evaluations.

    Attributes:
        hypervolume_median, hypervolume_q1, hypervolume_q3: over the seeds; a search that ended
            before keeps what it had.
        hypervolume_table: of all policies of the table, which no search can exceed; None without
            a table.
        seconds_median: wall time of the search, evaluations included; looking up takes none.
    """

    model: str
    data: str
    method: str
    evaluations: int
    seeds: int
    hypervolume_median: float
    hypervolume_q1: float
    hypervolume_q3: float
    hypervolume_table: float | None
    seconds_median: float


def table_problem(path: Path, evaluator: TabularEvaluator, evaluations: int) -> SearchConfig:
    """What all searches of a table have in common.

    What the table was measured with stays. At most half of the table is looked at, so that chance
    alone does not find the front.
    """
    return replace(
        evaluator.config,
        evaluations=min(evaluations, len(evaluator.rows) // 2),
        evaluator=EVALUATOR,
        table=str(path.resolve()),
    )


def search_configs(
    problem: SearchConfig, methods: Sequence[str], seeds: int
) -> Iterator[SearchConfig]:
    """The searches of a comparison: each method with seeds 0 .. seeds - 1, all else alike.

    Methods have their present settings, not those of the day on which the problem's table was made.
    """
    for method in methods:
        for seed in range(seeds):
            yield replace(
                problem,
                agent=AgentConfig(),
                proposals=ProposalConfig(),
                method=method,
                seed=seed,
            )


def run_once(
    config: SearchConfig,
    root: Path,
    evaluator: Callable[[], Evaluator] | None = None,
    command: str = "",
    *,
    any_length: bool = False,
) -> Path:
    """The finished run of a configuration under `root`: found, resumed, or made anew.

    Which probe measured a run that is found makes no difference.

    Args:
        evaluator: asked for who evaluates only where something is left to evaluate; None: the one
            that the configuration names.
        any_length: a run of more evaluations will do, and an unfinished one or one of fewer goes
            on: a search goes its way whatever its end.
    """
    wanted = _identity(SearchConfig.from_json(config.to_json()), any_length)
    for path in sorted(root.glob("*/run.json")):
        info = read_run_info(path.parent)
        if info.kind != "search":
            continue
        found = SearchConfig.from_json(info.config)
        if _identity(found, any_length) == wanted:
            run_dir = path.parent
            break
    else:
        run_dir, found = new_run(config, command=command, root=root), config
    progress, measured = read_progress(run_dir), len(read_rows(run_dir))
    done = progress is not None and progress.state == "done"
    if found.evaluations >= config.evaluations and (done or measured > config.evaluations):
        return run_dir
    if found.evaluations != config.evaluations:
        prolong(run_dir, config.evaluations)
    run_search(run_dir, evaluator=evaluator and evaluator())
    return run_dir


def curve_frame(run_dirs: Sequence[Path], evaluations: int) -> pd.DataFrame:
    """Rows of `hypervolume_frame` of all runs, of each the first `evaluations`."""
    return pd.concat(
        [hypervolume_frame(path).head(evaluations) for path in run_dirs], ignore_index=True
    )


def table_hypervolume(evaluator: TabularEvaluator, run_dir: Path) -> float:
    """Of all policies of a table, by the reference point of a run on it."""
    return hypervolume(objectives(evaluator.rows.values()), reference_of(run_dir))


def joint_hypervolume(run_dirs: Sequence[Path], evaluations: int) -> float:
    """Of what searches of one problem found together, each in its first `evaluations`: the best
    that is known where no table tells."""
    rows = [row for path in run_dirs for row in read_rows(path)[:evaluations]]
    return hypervolume(objectives(rows), reference_of(run_dirs[0]))


def summarize(
    curves: pd.DataFrame, problem: SearchConfig, most: float | None = None
) -> list[SearchRow]:
    """Rows of all methods at the milestones up to the problem's evaluations; `most` is the
    hypervolume of its table."""
    evaluations, found = problem.evaluations, []
    for method, rows in curves.groupby("method", sort=False):
        for n in sorted({m for m in MILESTONES if m < evaluations} | {evaluations}):
            last = rows[rows["evaluation"] <= n].groupby("seed").last()
            q1, median, q3 = np.quantile(last["hypervolume"], [0.25, 0.5, 0.75])
            found.append(
                SearchRow(
                    model=problem.model_name,
                    data=problem.data_name,
                    method=method,
                    evaluations=n,
                    seeds=len(last),
                    hypervolume_median=float(median),
                    hypervolume_q1=float(q1),
                    hypervolume_q3=float(q3),
                    hypervolume_table=most,
                    seconds_median=float(last["seconds"].median()),
                )
            )
    return found


def _identity(config: SearchConfig, any_length: bool) -> SearchConfig:
    """The configuration without what makes no difference."""
    config = replace(config.located(), probe="")
    return replace(config, evaluations=1) if any_length else config
