"""Sweeps: combinations, what becomes of them, and the same again by Ray Tune."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mcuq_lab.cli.main import app
from mcuq_lab.errors import ConfigError
from mcuq_lab.results import read_rows, read_run_info
from mcuq_lab.results.store import REPOSITORY
from mcuq_lab.rlquant.search import run_search
from mcuq_lab.rlquant.search_benchmark import run_once
from mcuq_lab.rlquant.sweep import SweepConfig, Trial, run_trial, summarize_sweep

TABLE = REPOSITORY / "results" / "reference" / "tables" / "resnet8-digits.parquet"


def test_a_sweep_is_every_combination_once(config):
    sweep = SweepConfig(
        config("random", boards=2),
        methods=("rlquant", "random"),
        algorithms=("ppo", "dqn"),
        seeds=2,
        evaluations=(10, 20),
        budget_sram_bytes=(None, 5000),
    )
    searches = list(sweep.searches())
    assert len(searches) == len(set(searches)) == 2 * (2 + 1) * 2 * 2
    assert {search.boards for search in searches} == {1}
    assert {s.agent.algorithm for s in searches if s.method == "rlquant"} == {"ppo", "dqn"}
    assert [search.seed for search in searches] == [0] * 12 + [1] * 12
    with pytest.raises(ConfigError, match="annealing"):
        replace(sweep, methods=("annealing",))
    with pytest.raises(ConfigError, match="seed"):
        replace(sweep, seeds=0)


def test_trials_are_runs_that_are_found_again_and_gone_on_with(config, evaluator, tmp_path):
    search = config("random", 8)
    first = run_trial(search, tmp_path, "mcuq sweep")
    assert first == run_trial(search, tmp_path)
    assert read_run_info(tmp_path / first.run).command == "mcuq sweep"
    assert len(read_rows(tmp_path / first.run)) == 8
    longer = config("random", 12)
    broken = run_once(longer, tmp_path, lambda: evaluator)
    whole = [row.policy for row in read_rows(broken)]
    assert run_trial(longer, tmp_path).run == broken.name
    assert [row.policy for row in read_rows(broken)] == whole
    assert run_search(broken, evaluator=evaluator).state == "done"


def test_a_budget_that_nothing_keeps_is_a_result(config, tmp_path):
    searches = [config("random", 6, budget_sram_bytes=limit) for limit in (None, 10)]
    trials = [run_trial(search, tmp_path) for search in searches]
    rows = summarize_sweep(searches, trials)
    assert [(row.seeds, row.failed) for row in rows] == [(1, 0), (0, 1)]
    assert rows[0].message == ""
    assert "--budget-sram-bytes 10 is missed" in rows[1].message
    assert rows[1].hypervolume_median is None


def test_the_summary_is_over_the_seeds(config):
    searches = [config("random", n, seed) for n in (10, 20) for seed in range(3)]
    trials = [Trial(f"run{i}", float(i), 10.0 * i) for i in range(6)]
    rows = summarize_sweep(searches, trials)
    assert [(row.evaluations, row.seeds, row.algorithm) for row in rows] == [
        (10, 3, ""),
        (20, 3, ""),
    ]
    assert (rows[1].hypervolume_q1, rows[1].hypervolume_median) == (3.5, 4.0)
    assert (rows[1].seconds_median, rows[1].runs) == (40.0, ("run3", "run4", "run5"))


@pytest.mark.alone  # Ray starts in a quarter of a minute, and on a busy machine not at all
def test_a_sweep_by_tune_is_not_run_twice(tmp_path):
    arguments = ["sweep", "--table", str(TABLE), "--method", "random", "--method", "sa_mutation"]
    arguments += ["--seeds", "2", "--evaluations", "9", "--boards", "2", "--json"]
    arguments += ["--folder", str(tmp_path)]
    documents = []
    for _ in range(2):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        documents.append(json.loads(result.stdout))
    assert documents[0] == documents[1]
    assert [(row["method"], row["seeds"]) for row in documents[0]] == [
        ("random", 2),
        ("sa_mutation", 2),
    ]
    runs = {Path(path).parent.name for path in tmp_path.glob("*/run.json")}
    assert runs == {run for row in documents[0] for run in row["runs"]}
    assert len(runs) == 4
