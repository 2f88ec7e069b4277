"""The real end of an episode, on the simulated board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.bench import BoardSession
from mcuq_lab.board import load_board
from mcuq_lab.errors import BoardError, BuildError, FitError, NumericsError
from mcuq_lab.nucleosim import Faults, simulated_board
from mcuq_lab.policy import Policy
from mcuq_lab.results import read_frame
from mcuq_lab.rlquant import LowerLevelConfig, evaluator, new_run, quick_config, run_search
from mcuq_lab.sources import joined_names

LOWER_LEVEL = LowerLevelConfig(batches=2, training_images=256, threads=1)
CONFIG = quick_config(model="resnet8", data="digits", lower_level=LOWER_LEVEL, method="random")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def board():
    made = evaluator.make_evaluator(CONFIG)
    yield made
    made.close()


def test_a_policy_becomes_a_measured_row(board):
    row = board.evaluate(Policy.uniform(10, 4, 4))
    assert (row.status, row.message) == ("ok", "")
    assert row.bit_exact
    assert row.simulated
    assert row.accuracy_quick > 0.9
    assert row.n_images == 240
    layers = {layer.name for layer in board.graph.layers}
    nodes = [node.name for node in board.graph.nodes]
    assert layers <= {node for name in row.layer_names for node in joined_names(name, nodes)}
    assert sum(row.layer_cycles) == pytest.approx(row.cycles_median, rel=0.02)
    assert {"finetune", "accuracy", "generate", "build", "flash", "run"} <= set(row.seconds)


def test_a_hopeless_policy_is_a_row_that_says_so(board, monkeypatch):
    lower = replace(LOWER_LEVEL, batches=5, hopeless_nats=0.01)
    monkeypatch.setattr(board, "_config", replace(CONFIG, lower_level=lower))
    rows = [board.evaluate(Policy.uniform(10, width, width)) for width in (8, 2)]
    assert [row.status for row in rows] == ["ok", "ok"]
    assert rows[0].message == ""
    assert "after 2 of 5 batches" in rows[1].message


def test_plans_and_measurements_differ_by_a_constant_and_a_factor(board):
    rows = [board.evaluate(Policy.uniform(10, w, a)) for w, a in ((8, 8), (2, 2), (4, 3))]
    plans = [board.plan(Policy.of(row.policy)) for row in rows]
    beyond = [r.sram_peak_bytes - p.memory_bytes for r, p in zip(rows, plans, strict=True)]
    assert max(beyond) - min(beyond) < 128
    factors = [r.cycles_median / p.cycles for r, p in zip(rows, plans, strict=True)]
    assert max(factors) < 1.02 * min(factors)


def test_a_budget_of_arena_holds_for_every_policy(board, monkeypatch):
    policy = Policy.uniform(10, 4, 4)
    budget = board.plan(policy).memory_bytes * 9 // 10
    monkeypatch.setattr(board, "_target", replace(board._target, arena_bytes=budget))
    row = board.evaluate(policy)
    assert row.ok
    assert row.sram_arena_bytes <= budget


def test_the_image_without_the_board_is_as_large_as_the_one_that_is_flashed(board):
    """Training moves weights, not code; packed sums of weights may differ by some words."""
    for policy in (Policy.uniform(10, 4, 4), Policy.uniform(10, 2, 8)):
        assert board.image_bytes(policy) == board.evaluate(policy).flash_total_bytes


def test_kernels_are_shared_where_the_budget_of_flash_demands_it(board, monkeypatch):
    policy = Policy.uniform(10, 4, 4)
    free = board.evaluate(policy)
    budget = free.flash_total_bytes * 3 // 4
    beyond = free.sram_peak_bytes - board.plan(policy).memory_bytes
    monkeypatch.setattr(board, "_flash_bytes", budget)
    within = board.evaluate(policy)
    assert within.ok
    assert within.flash_total_bytes <= budget < free.flash_total_bytes
    assert within.cycles_median > free.cycles_median
    assert board.image_bytes(policy) <= budget
    assert abs(within.sram_peak_bytes - board.plan(policy).memory_bytes - beyond) < 128


def test_the_least_flash_is_that_of_an_image_that_can_be_made(board, monkeypatch):
    for policy in (Policy.uniform(10, 4, 4), Policy.uniform(10, 2, 2)):
        monkeypatch.setattr(board, "_flash_bytes", 50_000)
        least = board.least_flash_bytes(policy)
        monkeypatch.setattr(board, "_flash_bytes", round(1.03 * least))
        assert board.image_bytes(policy) <= 1.03 * least
        monkeypatch.setattr(board, "_flash_bytes", round(0.9 * least))
        assert board.image_bytes(policy) > 0.9 * least


def test_what_cannot_keep_the_budget_of_flash_is_measured_without_it(board, monkeypatch):
    policy = Policy.uniform(10, 8, 8)
    free, planned = board.evaluate(policy), board.plan(policy)
    monkeypatch.setattr(board, "_flash_bytes", 40_000)
    row = board.evaluate(policy)
    assert (row.status, row.cycles_median) == ("ok", free.cycles_median)
    assert row.flash_total_bytes == free.flash_total_bytes > 40_000
    assert board.plan(policy) == planned


def test_divergence_grows_as_widths_fall(board):
    nats = [board.divergence(np.full((10, 2), width)) for width in (8, 4, 3, 2)]
    assert nats == sorted(nats)
    assert nats[0] < 0.01 < nats[-1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (FitError("900 bytes too many", memory="flash", overflow_bytes=900), "no_fit_flash"),
        (FitError("9 bytes too many", memory="sram", overflow_bytes=9), "no_fit_sram"),
        (BoardError("hangs in conv1", status="timeout"), "timeout"),
        (BoardError("HardFault in conv1", status="fault"), "fault"),
        (BoardError("unplugged"), "probe_error"),
        (NumericsError("out of range"), "fault"),
    ],
)
def test_failures_are_rows(board, monkeypatch, error, status):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(evaluator, "measure_network", fail)
    row = board.evaluate(Policy.uniform(10, 8, 8))
    assert (row.status, row.message) == (status, str(error))
    assert row.cycles_median is None
    assert row.accuracy_quick is not None


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        (Faults(unplugged_after=40), "probe_error"),
        (Faults(swd_wait_after=40), "probe_error"),
        (Faults(brown_out_at_cycle=1_000_000), "probe_error"),
        (Faults(hard_fault_at_cycle=1_000_000), "fault"),
        (Faults(hang_at_cycle=1_000_000), "timeout"),
    ],
)
def test_a_fault_of_the_board_costs_one_episode(board, healthy, monkeypatch, faults, status):
    monkeypatch.setitem(BoardSession.run.__kwdefaults__, "inference_timeout_s", 2.0)
    simulated = simulated_board(load_board(CONFIG.board).simulated_uid)
    policy = Policy.uniform(10, 8, 8)
    simulated.inject(faults)
    failed = board.evaluate(policy)
    simulated.inject(Faults())
    assert failed.status == status
    assert failed.message
    assert failed.cycles_median is None
    assert failed.accuracy_quick == healthy.accuracy_quick
    again = board.evaluate(policy)
    assert again.status == "ok"
    assert again.cycles_median == healthy.cycles_median


@pytest.fixture(scope="module")
def healthy(board):
    """The row of w8a8 from a board without faults."""
    row = board.evaluate(Policy.uniform(10, 8, 8))
    assert row.status == "ok"
    return row


def test_a_board_that_hung_is_opened_anew_and_costs_one_episode(board, monkeypatch, tmp_path):
    board.close()  # one session a board; the next evaluation opens it again
    opened, measured = [], []
    open_board, measure = evaluator.open_board, evaluator.measure_network

    def counting_open(*arguments, **options):
        opened.append(True)
        return open_board(*arguments, **options)

    def hang_once(*arguments, **options):
        measured.append(True)
        if len(measured) == 2:
            raise BoardError("The firmware did not end.", status="timeout")
        return measure(*arguments, **options)

    monkeypatch.setattr(evaluator, "open_board", counting_open)
    monkeypatch.setattr(evaluator, "measure_network", hang_once)
    config = quick_config(
        model="resnet8", data="digits", lower_level=LOWER_LEVEL, method="greedy", evaluations=3
    )
    run_dir = new_run(config, root=tmp_path)
    run_search(run_dir)
    frame = read_frame(run_dir)
    assert frame["status"].tolist() == ["ok", "timeout", "ok"]
    assert np.isnan(frame["cycles_median"][1])
    assert len(opened) == 2


def test_a_missing_compiler_ends_the_search_but_keeps_its_rows(board, monkeypatch, tmp_path):
    board.close()
    measure = evaluator.measure_network
    measured = []

    def break_down(*arguments, **options):
        measured.append(True)
        if len(measured) == 2:
            raise BuildError("arm-none-eabi-gcc is gone; install it.")
        return measure(*arguments, **options)

    monkeypatch.setattr(evaluator, "measure_network", break_down)
    config = quick_config(
        model="resnet8", data="digits", lower_level=LOWER_LEVEL, method="greedy", evaluations=3
    )
    run_dir = new_run(config, root=tmp_path)
    with pytest.raises(BuildError, match="is gone"):
        run_search(run_dir)
    assert len(read_frame(run_dir)) == 1
    run_search(run_dir)
    assert read_frame(run_dir)["status"].tolist() == ["ok"] * 3
