"""Searches survive kill -9, stops and damaged files, and go on as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import read_rows
from mcuq_lab.rlquant import attach, is_running, new_run, prolong, resume, run_search, start, stop
from mcuq_lab.rlquant.checkpoint import load_checkpoint, save_checkpoint

CHEAP_METHODS = ("random", "nsga2", "tpe", "sa_mutation", "sa_nsga2", "without_rl")


def story(run_dir: Path) -> list[tuple]:
    """What a run did, without its timing."""
    return [
        (r.evaluation, r.policy, r.origin, r.status, r.accuracy_quick) for r in read_rows(run_dir)
    ]


def stop_after(n: int):
    """Asked after each evaluation: True at the n-th time."""
    calls = iter(range(n))
    return lambda: next(calls, None) is None


@pytest.mark.parametrize("method", CHEAP_METHODS)
def test_a_stopped_search_goes_on_identically(method, config, evaluator, tmp_path):
    whole = new_run(config(method), root=tmp_path)
    run_search(whole, evaluator=evaluator)
    broken = new_run(config(method), root=tmp_path)
    states = []
    for n in (3, 11, 2, 1000):
        states.append(run_search(broken, evaluator=evaluator, should_stop=stop_after(n)).state)
    assert states == ["stopped"] * 3 + ["done"]
    assert story(broken) == story(whole)
    assert len(story(whole)) == 30


@pytest.mark.parametrize("method", CHEAP_METHODS)
def test_a_prolonged_search_ends_as_if_it_had_been_that_long(method, config, evaluator, tmp_path):
    whole = new_run(config(method), root=tmp_path)
    run_search(whole, evaluator=evaluator)
    longer = new_run(config(method, evaluations=21), root=tmp_path)
    assert run_search(longer, evaluator=evaluator).state == "done"
    prolong(longer, 30)
    assert run_search(longer, evaluator=evaluator).total == 30
    assert story(longer) == story(whole)
    with pytest.raises(ConfigError, match="has measured 30 policies"):
        prolong(longer, 29)


@pytest.mark.parametrize("kept", ["nothing", "memory"])
def test_earlier_checkpoints_are_read(kept, config, evaluator, tmp_path):
    """Those of before there were scouts, and those of scouts whose memory alone was planned."""
    run_dir = new_run(config("without_rl"), root=tmp_path)
    run_search(run_dir, evaluator=evaluator, should_stop=stop_after(15))
    checkpoint = load_checkpoint(run_dir)
    rounds, planned, proposers = checkpoint.state
    assert planned
    memory = {policy: plan.memory_bytes for policy, plan in planned.items()}
    state = (rounds, proposers) if kept == "nothing" else (rounds, memory, proposers)
    save_checkpoint(run_dir, replace(checkpoint, state=state))
    assert run_search(run_dir, evaluator=evaluator).state == "done"


@pytest.mark.parametrize("method", ["nsga2", "sa_mutation"])
def test_rows_alone_are_enough(method, config, evaluator, tmp_path):
    """Without any checkpoint the method's state is replayed from the rows."""
    whole = new_run(config(method), root=tmp_path)
    run_search(whole, evaluator=evaluator)
    broken = new_run(config(method), root=tmp_path)
    run_search(broken, evaluator=evaluator, should_stop=stop_after(22))
    for checkpoint in (broken / "checkpoints").iterdir():
        checkpoint.unlink()
    run_search(broken, evaluator=evaluator)
    assert story(broken) == story(whole)


def test_a_damaged_checkpoint_is_refused_with_a_way_out(config, evaluator, tmp_path):
    whole = new_run(config("nsga2"), root=tmp_path)
    run_search(whole, evaluator=evaluator)
    broken = new_run(config("nsga2"), root=tmp_path)
    run_search(broken, evaluator=evaluator, should_stop=stop_after(25))
    newest = sorted((broken / "checkpoints").iterdir())[-1]
    content = bytearray(newest.read_bytes())
    content[-20] ^= 0xFF
    newest.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{newest.name}.*delete this file and resume"):
        run_search(broken, evaluator=evaluator)
    newest.write_bytes(b"")
    with pytest.raises(ConfigError, match="No row is lost"):
        run_search(broken, evaluator=evaluator)
    newest.unlink()
    run_search(broken, evaluator=evaluator)
    assert story(broken) == story(whole)


def test_kill_9_loses_nothing_and_counts_nothing_twice(config, tmp_path, child_env):
    child_env.setenv("SYNTHETIC_SLEEP_S", "0.05")
    whole_log, broken_log = tmp_path / "whole.log", tmp_path / "broken.log"
    child_env.setenv("SYNTHETIC_LOG", str(whole_log))
    whole = start(config("sa_mutation"), root=tmp_path)
    assert list(attach(whole))[-1].state == "done"

    child_env.setenv("SYNTHETIC_LOG", str(broken_log))
    broken = start(config("sa_mutation"), root=tmp_path)
    kills = 0
    for n in (4, 13):
        for progress in attach(broken, poll_s=0.01):
            if progress.evaluations >= n and not progress.final:
                os.kill(progress.pid, signal.SIGKILL)
                kills += 1
                break
        assert list(attach(broken))[-1].state == "interrupted"
        assert not is_running(broken)
        resume(broken)
    assert list(attach(broken))[-1].state == "done"
    assert story(broken) == story(whole)
    # Only an evaluation that was under way when the process died may have happened twice.
    evaluated = len(broken_log.read_text().splitlines())
    assert 30 <= evaluated <= 30 + kills


def test_stop_ends_after_the_evaluation_under_way(config, tmp_path, child_env):
    child_env.setenv("SYNTHETIC_SLEEP_S", "0.2")
    run_dir = start(config("random", evaluations=500), root=tmp_path)
    for progress in attach(run_dir):
        if progress.evaluations >= 2:
            break
    stop(run_dir)
    assert not is_running(run_dir)
    last = list(attach(run_dir))[-1]
    assert last.state == "stopped"
    assert 2 <= last.evaluations == len(read_rows(run_dir)) < 500


def test_one_run_has_one_process(config, tmp_path, child_env):
    child_env.setenv("SYNTHETIC_SLEEP_S", "0.2")
    run_dir = start(config("random", evaluations=500), root=tmp_path)
    try:
        with pytest.raises(ConfigError, match="running"):
            resume(run_dir)
        with pytest.raises(ConfigError, match="another process"):
            run_search(run_dir)
    finally:
        stop(run_dir)


def test_a_search_that_cannot_start_says_why(config, tmp_path, child_env):
    run_dir = new_run(config("random"), root=tmp_path)
    (run_dir / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"run\.json"):
        resume(run_dir)


def test_a_broken_evaluator_fails_the_run_with_its_message(config, tmp_path, child_env):
    bad = config("random")
    bad = type(bad).from_json(bad.to_json() | {"evaluator": "synthetic:nothing"})
    run_dir = new_run(bad, root=tmp_path)
    with pytest.raises(ConfigError, match="nothing"):
        run_search(run_dir)
    last = list(attach(run_dir))[-1]
    assert last.state == "failed"
    assert "nothing" in last.message


@pytest.mark.slow
def test_rlquant_survives_kill_9_identically(config, tmp_path, child_env):
    child_env.setenv("SYNTHETIC_SLEEP_S", "0.05")
    whole = start(config("rlquant", evaluations=24), root=tmp_path)
    assert list(attach(whole))[-1].state == "done"
    broken = start(config("rlquant", evaluations=24), root=tmp_path)
    # Nine rows come before the agent's first round; kill in the second round.
    for progress in attach(broken, poll_s=0.02):
        if progress.evaluations >= 14 and not progress.final:
            os.kill(progress.pid, signal.SIGKILL)
            break
    deadline = time.monotonic() + 30
    while is_running(broken) and time.monotonic() < deadline:
        time.sleep(0.05)
    resume(broken)
    assert list(attach(broken))[-1].state == "done"
    assert story(broken) == story(whole)
    assert "agent" in {row.origin for row in read_rows(whole)}
