"""Restricted spaces, tables of all their policies, and searches in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import SyntheticEvaluator, residual_net
from typer.testing import CliRunner

from mcuq_lab.cli import bench_search
from mcuq_lab.cli.main import app
from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy
from mcuq_lab.results import ReferencePoint, append_rows, read_rows, read_run_info
from mcuq_lab.rlquant import METHODS, SearchConfig
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.costs import initial_costs
from mcuq_lab.rlquant.env import Episodes, Outcome, World, draw_preference
from mcuq_lab.rlquant.methods.tpe import Tpe
from mcuq_lab.rlquant.proposers import mutate
from mcuq_lab.rlquant.replay import Replay, play
from mcuq_lab.rlquant.search import prolong, run_search
from mcuq_lab.rlquant.search_benchmark import (
    curve_frame,
    joint_hypervolume,
    run_once,
    search_configs,
    summarize,
    table_hypervolume,
    table_problem,
)
from mcuq_lab.rlquant.space import SearchSpace, tied_policies, to_policy
from mcuq_lab.rlquant.tabular import (
    CHOICES,
    TabularEvaluator,
    new_table,
    stage_ties,
    tabulate,
    write_table,
)

GRAPH = residual_net()
SPACE = SearchSpace(GRAPH, stage_ties(GRAPH), CHOICES)
KEYS = {policy.tobytes() for policy in tied_policies(SPACE.ties, SPACE.choices)}
CONFIG = SearchConfig(model="synthetic", data="none", evaluator="synthetic:make_evaluator")
_TABULATE = """
from pathlib import Path
from mcuq_lab.rlquant.tabular import tabulate

if __name__ == "__main__":
    tabulate(Path({!r}))
"""
WITHOUT_RL = [name for name in METHODS if name != "rlquant"]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_projection_is_idempotent_and_lands_in_the_space(seed):
    rng = np.random.default_rng(seed)
    bits = rng.integers(2, 9, (8, SPACE.n_layers, 2))
    projected = SPACE.canonical(bits)
    assert {policy.tobytes() for policy in projected} <= KEYS
    assert np.array_equal(SPACE.canonical(projected), projected)
    assert np.array_equal(SPACE.decode(SPACE.encode(projected)), projected)


def test_policies_of_a_space_are_themselves_and_distinct():
    policies = tied_policies(SPACE.ties, SPACE.choices)
    assert len(KEYS) == SPACE.size == len(policies)
    assert np.array_equal(SPACE.canonical(policies), policies)


def test_what_draws_in_a_space_stays_in_it():
    rng = np.random.default_rng(0)
    drawn = SPACE.random(rng, 100)
    assert {policy.tobytes() for policy in drawn} <= KEYS
    children = mutate(SPACE, drawn, 100, rng)
    assert {policy.tobytes() for policy in children} <= KEYS
    assert not np.array_equal(children, drawn)


def test_masks_lead_every_episode_into_the_space():
    reference = ReferencePoint(0.5, 1e7, 1e5)
    world = World(
        initial_costs(SPACE), Budgets(), reference, lambda bits: [Outcome(False)] * len(bits)
    )
    rng = np.random.default_rng(0)
    preferences = draw_preference(rng, 16)
    episodes = Episodes(world, preferences)
    steps, rewards = 0, np.zeros(16)
    while not episodes.done:
        rewards += episodes.step(rng.integers(0, 7, (16, 2)))
        steps += 1
    assert steps == len(SPACE.decisions) == max(SPACE.ties) + 1, "one step a tie"
    assert {policy.tobytes() for policy in episodes.bits} <= KEYS
    paid = (preferences[:, 1:] * world.scaled_costs(episodes.bits)).sum(axis=1)
    assert np.allclose(rewards, -paid)


def test_a_replay_holds_one_step_a_tie():
    reference = ReferencePoint(0.5, 1e7, 1e5)
    good = Outcome(True, 0.7)
    world = World(initial_costs(SPACE), Budgets(), reference, lambda bits: [good] * len(bits))
    rng = np.random.default_rng(0)
    replay = Replay(100, 2, hindsight=False)
    preferences = draw_preference(rng, 16)
    played = play(world, preferences, lambda seen, _: rng.integers(0, 7, (len(seen), 2)))
    replay.add(played)
    assert played.actions.shape == (16, len(SPACE.decisions))
    again = Replay(100, 2, hindsight=False)
    again.restore(replay.state())
    again.enter(world)
    ours, theirs = (r.sample(200, np.random.default_rng(1)) for r in (replay, again))
    assert np.array_equal(ours.actions, theirs.actions)
    assert np.array_equal(ours.observations, theirs.observations)
    assert np.allclose(ours.rewards, theirs.rewards)


def test_ties_that_do_not_fit_are_refused():
    ties = list(SPACE.ties)
    with pytest.raises(ConfigError, match="one number a layer"):
        SearchSpace(GRAPH, tuple(ties[:-1]), CHOICES)
    with pytest.raises(ConfigError, match="read one tensor"):
        SearchSpace(GRAPH, tuple(range(len(ties))), CHOICES)
    with pytest.raises(ConfigError, match="takes no budgets"):
        SearchConfig(table="x.parquet", budget_sram_bytes=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of the synthetic objective, written without processes."""
    return _write(tmp_path_factory.mktemp("table"))


def _write(folder):
    evaluator = SyntheticEvaluator(GRAPH)
    run_dir = new_table(CONFIG, GRAPH, root=folder)
    policies = map(to_policy, tied_policies(SPACE.ties, SPACE.choices))
    append_rows(run_dir, [evaluator.evaluate(policy) for policy in policies])
    facts = {
        "graph_digest": GRAPH.digest,
        "float_accuracy": evaluator.float_accuracy,
        "sysclk_hz": evaluator.sysclk_hz,
        "board_sram_bytes": evaluator.board_sram_bytes,
        "board_flash_bytes": evaluator.board_flash_bytes,
        "sensitivity": evaluator.sensitivity().tolist(),
    }
    (run_dir / "facts.json").write_text(json.dumps(facts))
    return write_table(run_dir, folder / "synthetic")


def test_a_policy_that_is_not_in_the_table_is_an_error(table):
    evaluator = TabularEvaluator(table, GRAPH)
    inside = to_policy(SPACE.uniform(4, 4))
    assert evaluator.evaluate(inside).policy == inside.pairs
    with pytest.raises(ConfigError, match="not in table"):
        evaluator.evaluate(Policy.parse("w5a5", SPACE.n_layers))


def test_ties_may_be_chosen_and_bad_ones_are_refused(tmp_path):
    ties = (0, *[1] * (SPACE.n_layers - 1))
    run_dir = new_table(CONFIG, GRAPH, ((8, 8), (4, 4)), ties, root=tmp_path)
    assert tuple(read_run_info(run_dir).config["ties"]) == ties
    with pytest.raises(ConfigError, match="one number a layer"):
        new_table(CONFIG, GRAPH, ((8, 8), (4, 4)), (0, 1), root=tmp_path)
    done = CliRunner().invoke(app, ["tabulate", str(tmp_path / "t"), "--ties", "0,one"])
    assert done.exit_code == 2
    assert "are not numbers" in done.stderr


def test_a_table_of_another_network_is_refused(table):
    with pytest.raises(ConfigError, match="another"):
        TabularEvaluator(table, residual_net(width=4))


def test_methods_are_compared_on_a_table(table, tmp_path):
    evaluator = TabularEvaluator(table, GRAPH)
    problem = table_problem(table, evaluator, 24)
    configs = list(search_configs(problem, WITHOUT_RL, 1))
    run_dirs = [run_once(config, tmp_path, lambda: evaluator) for config in configs]
    again = [run_once(replace(config, probe="sim:2"), tmp_path) for config in configs[:2]]
    assert again == run_dirs[:2]
    curves = curve_frame(run_dirs, 24)
    rows = summarize(curves, problem, table_hypervolume(evaluator, run_dirs[0]))
    assert {row.method for row in rows} == set(WITHOUT_RL)
    assert all(0 < row.hypervolume_median <= row.hypervolume_table for row in rows)


def test_methods_are_compared_in_a_whole_space(tmp_path, monkeypatch):
    opened, closed = [], []

    class Opened(SyntheticEvaluator):
        def __init__(self, config):
            super().__init__(GRAPH)
            opened.append(config)

        def close(self):
            closed.append(self)

    monkeypatch.setattr(bench_search, "load_evaluator", Opened)
    command = ["bench", "search", "--model", "resnet8", "--seeds", "2", "--evaluations", "12"]
    command += ["--method", "random", "--method", "sa_mutation", "--json"]
    command += ["--runs", str(tmp_path / "runs"), "--figures", str(tmp_path)]
    printed = [CliRunner().invoke(app, command).stdout for _ in range(2)]
    rows = json.loads(printed[0])
    assert json.loads(printed[1]) == rows
    assert len(opened) == len(closed) == 1
    assert {(row["method"], row["evaluations"], row["seeds"]) for row in rows} == {
        ("random", 12, 2),
        ("sa_mutation", 12, 2),
    }
    assert all(row["hypervolume_table"] is None and row["hypervolume_median"] > 0 for row in rows)
    assert (tmp_path / "search-resnet8-digits-whole.png").exists()
    run_dirs = sorted((tmp_path / "runs").glob("*"))
    alone = [joint_hypervolume([run_dir], 12) for run_dir in run_dirs]
    assert joint_hypervolume(run_dirs, 12) >= max(alone)
    assert joint_hypervolume(run_dirs[:1], 6) < alone[0]
    refused = CliRunner().invoke(app, [*command, "--table", "t.parquet"])
    assert refused.exit_code == 2
    assert "not both" in refused.stderr


def test_a_longer_comparison_goes_on_with_the_shorter_ones_searches(table, tmp_path):
    evaluator = TabularEvaluator(table, GRAPH)
    runs = {
        n: run_once(config, tmp_path, lambda: evaluator, any_length=True)
        for n in (12, 20, 16)
        for config in search_configs(table_problem(table, evaluator, n), ["sa_mutation"], 1)
    }
    assert len(set(runs.values())) == 1
    assert len(read_rows(runs[12])) == 20
    assert len(curve_frame([runs[16]], 16)) == 16
    prolong(runs[12], 40)
    assert run_search(runs[12], evaluator=evaluator, should_stop=lambda: True).state == "stopped"
    (config,) = search_configs(table_problem(table, evaluator, 24), ["sa_mutation"], 1)
    assert run_once(config, tmp_path, lambda: evaluator, any_length=True) == runs[12]
    assert len(read_rows(runs[12])) == 24


def test_tpe_does_not_repeat_itself_for_long(table, tmp_path, monkeypatch):
    asked, ask = [], Tpe.ask
    monkeypatch.setattr(Tpe, "ask", lambda self, rows: asked.append(0) or ask(self, rows))
    evaluator = TabularEvaluator(table, GRAPH)
    (config,) = search_configs(table_problem(table, evaluator, 120), ["tpe"], 1)
    rows = read_rows(run_once(config, tmp_path, lambda: evaluator))
    assert len({row.policy for row in rows}) == 120
    assert len(asked) < 3 * 120


@pytest.mark.slow
def test_a_killed_table_goes_on_and_ends_the_same(child_env, tmp_path):
    child_env.setenv("SYNTHETIC_SLEEP_S", "0.1")
    run_dir = new_table(CONFIG, GRAPH, ((8, 8), (4, 4)), root=tmp_path)
    script = tmp_path / "table.py"
    script.write_text(_TABULATE.format(str(run_dir)))
    paths = os.pathsep.join([os.getcwd(), os.environ["PYTHONPATH"]])
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, str(script)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    while len(read_rows(run_dir)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = len(read_rows(run_dir))
    with pytest.raises(ConfigError, match="are missing"):
        write_table(run_dir, tmp_path / "early")
    assert tabulate(run_dir, processes=2) == 0
    rows = read_rows(run_dir)
    assert killed < len(rows) == 16 == len({row.policy for row in rows})
    fresh = new_table(CONFIG, GRAPH, ((8, 8), (4, 4)), root=tmp_path)
    tabulate(fresh)
    paths = [write_table(run_dir, tmp_path / "a"), write_table(fresh, tmp_path / "b")]
    first, second = (TabularEvaluator(path, GRAPH).rows for path in paths)
    assert list(first) == list(second)
    assert [r.accuracy_quick for r in first.values()] == [r.accuracy_quick for r in second.values()]
