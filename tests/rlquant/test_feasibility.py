"""Hard budgets: no method proposes what breaks them, and where nothing keeps them it is said."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy
from mcuq_lab.report import front_of
from mcuq_lab.results import ReferencePoint, read_frame, read_rows
from mcuq_lab.rlquant import (
    METHODS,
    AgentConfig,
    budgets_kept,
    hypervolume_frame,
    new_run,
    run_search,
)
from mcuq_lab.rlquant.budgets import Budgets, needs_of
from mcuq_lab.rlquant.costs import fit_costs
from mcuq_lab.rlquant.gauge import Gauge
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.methods import Problem, make_method
from mcuq_lab.rlquant.space import SearchSpace, to_policy

N_LAYERS = 10
TINY_AGENT = AgentConfig(
    episodes_per_iteration=20, first_iterations=1, iterations=1, rollouts=64, minibatch_size=100
)


class OddCode(SyntheticEvaluator):
    """Its flash is not monotone: code for narrow inputs is larger, as on the board."""

    def image_bytes(self, policy: Policy) -> int:
        bits = np.array(policy.pairs)
        return int(super().image_bytes(policy) + 120 * (8 - bits[:, 1]).sum() + bits.sum() % 7)


EVALUATOR = OddCode(residual_net())
SPACE = SearchSpace(EVALUATOR.graph)
ROWS = [
    EVALUATOR.evaluate(to_policy(bits))
    for bits in (
        SPACE.uniform(8, 8),
        SPACE.uniform(2, 2),
        *SPACE.random(np.random.default_rng(5), 4),
    )
]

COSTS = fit_costs(SPACE, ROWS, live_tensors(SPACE))


def budgets_between(shares) -> Budgets:
    """Between what w2a2 (0) and w8a8 (1) need; None where there is no share."""
    high, low = needs_of(ROWS[0]), needs_of(ROWS[1])
    return Budgets(
        *(
            None if share is None else a + share * (b - a)
            for a, b, share in zip(low, high, shares, strict=True)
        )
    )


def gauge_of(budgets: Budgets, evaluator=EVALUATOR) -> Gauge:
    return Gauge(
        SPACE,
        budgets,
        lambda bits: evaluator.plan(to_policy(bits)),
        lambda bits: evaluator.image_bytes(to_policy(bits)),
    )


shares = st.one_of(st.none(), st.floats(0.0, 1.0))
policies = st.integers(0, 2**32 - 1).map(lambda s: SPACE.random(np.random.default_rng(s), 1)[0])


@settings(max_examples=60, deadline=None)
@given(policies, st.tuples(shares, shares, shares))
def test_every_policy_is_brought_within_any_budgets_that_something_keeps(bits, chosen):
    budgets = budgets_between(chosen)
    gauge = gauge_of(budgets)
    within = gauge.bring_within(COSTS, bits, ROWS)
    if gauge.keeps(COSTS, bits, ROWS):
        assert (within == bits).all()
    assert (within <= bits).all() or to_policy(within).pairs in {row.policy for row in ROWS}
    sram, flash, cycles = needs_of(measured(within))
    assert budgets.sram_bytes is None or sram <= budgets.sram_bytes
    assert budgets.flash_bytes is None or flash <= budgets.flash_bytes
    # Plans have whole cycles of another unit.
    assert budgets.cycles is None or cycles <= budgets.cycles * (1 + 1e-5)


@pytest.mark.parametrize(
    "method",
    [*sorted(set(METHODS) - {"rlquant"}), pytest.param("rlquant", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("chosen", [(0.4, None, None), (0.5, 0.6, 0.4)])
def test_no_method_proposes_what_is_known_to_break_the_budgets(method, chosen, config):
    gauge = gauge_of(budgets_between(chosen))
    changes = {"agent": TINY_AGENT} if method == "rlquant" else {}
    problem = Problem(
        gauge=gauge,
        first_rows=tuple(ROWS[:2]),
        reference=ReferencePoint(0.5, 1.1 * ROWS[0].cycles_median, 1.1 * ROWS[0].sram_peak_bytes),
        config=config(method, **changes),
        sensitivity=EVALUATOR.sensitivity,
    )
    made, rows, proposed = make_method(problem), list(ROWS[:2]), 0
    for _ in range(14 if method == "tpe" else 3):
        batch = made.ask(rows)
        results = []
        for proposal in batch:
            sram, flash, cycles = gauge.budgets.ratios(needs_of(measured(proposal.bits)))
            assert max(sram, flash) <= 1.0
            assert cycles <= 1 + 1e-5  # plans have whole cycles of another unit
            results.append(measured(proposal.bits))
        proposed += len({p.key for p in batch} - {row.policy for row in rows})
        rows += results
        made.tell(results)
    made.close()
    assert proposed > (2 if method == "greedy" else 9)


def measured(bits):
    return EVALUATOR.evaluate(to_policy(bits))


def run_within(method, config, root, chosen, evaluations):
    budgets = budgets_between(chosen)
    latency_ms = None if budgets.cycles is None else 1e3 * budgets.cycles / EVALUATOR.sysclk_hz
    changes = {
        "budget_sram_bytes": budgets.sram_bytes and int(budgets.sram_bytes),
        "budget_flash_bytes": budgets.flash_bytes and int(budgets.flash_bytes),
        "budget_latency_ms": latency_ms,
    }
    run_dir = new_run(config(method, evaluations, **changes), root=root)
    run_search(run_dir, evaluator=EVALUATOR)
    return run_dir, budgets


def test_a_measured_violation_is_a_row_but_no_part_of_front_or_hypervolume(config, tmp_path):
    run_dir, budgets = run_within("random", config, tmp_path, (0.4, None, None), 12)
    frame = read_frame(run_dir)
    assert frame["sram_peak_bytes"][0] > budgets.sram_bytes
    assert (front_of(run_dir)["sram_peak_bytes"] <= budgets.sram_bytes).all()
    curve = hypervolume_frame(run_dir)["hypervolume"].to_numpy()
    assert curve[0] == 0.0
    assert curve[-1] > 0.0


def test_rows_are_held_against_the_budgets_as_measured(config):
    frame = pd.DataFrame(
        {
            "status": ["ok", "ok", "fault", "ok"],
            "sram_peak_bytes": [100, 101, 50, 100],
            "flash_total_bytes": [10, 10, 10, 10],
            "cycles_median": [16_000, 16_000, 16_000, 16_001],
            "sysclk_hz": [16_000_000] * 4,
        }
    )
    limits = config("random", budget_sram_bytes=100, budget_latency_ms=1.0)
    assert budgets_kept(frame, limits).tolist() == [True, False, False, False]


class Counting(OddCode):
    """Counts what is measured."""

    def __init__(self):
        super().__init__(residual_net())
        self.measured: list[Policy] = []

    def evaluate(self, policy):
        self.measured.append(policy)
        return super().evaluate(policy)


def test_memory_that_nothing_keeps_is_refused_before_anything_is_measured(config, tmp_path):
    evaluator = Counting()
    limit = evaluator.plan(Policy.uniform(N_LAYERS, 2, 2)).memory_bytes - 100
    run_dir = new_run(config("random", budget_sram_bytes=limit), root=tmp_path)
    with pytest.raises(ConfigError, match=rf"--budget-sram-bytes {limit} is missed by 100 bytes"):
        run_search(run_dir, evaluator=evaluator)
    assert not evaluator.measured


def test_flash_that_only_w2a8_keeps_is_kept(config, tmp_path):
    """w2a2, the smallest in memory and cycles, has the larger code."""
    evaluator = Counting()
    limit = evaluator.image_bytes(Policy.uniform(N_LAYERS, 2, 8))
    assert evaluator.image_bytes(Policy.uniform(N_LAYERS, 2, 2)) > limit
    run_dir = new_run(config("random", 10, budget_flash_bytes=limit), root=tmp_path)
    # Nothing else keeps it, and the search ends before it has spent its evaluations.
    assert run_search(run_dir, evaluator=evaluator).evaluations < 10
    assert evaluator.measured[1] == Policy.uniform(N_LAYERS, 2, 8)
    assert (front_of(run_dir)["flash_total_bytes"] <= limit).all()


def test_under_a_budget_of_flash_a_policy_needs_what_its_smallest_image_takes():
    """Measured images take up the budget, so that they do not tell what a policy needs."""
    plain = SyntheticEvaluator(SPACE.graph)

    def flash_bytes(bits):
        return plain.image_bytes(to_policy(bits))

    policies = SPACE.random(np.random.default_rng(6), 20)
    rows = [plain.evaluate(to_policy(bits)) for bits in policies[:6]]
    full = np.array([flash_bytes(bits) for bits in policies])
    for budgets, share in ((Budgets(flash_bytes=30_000), 0.6), (Budgets(), 1.0)):
        gauge = Gauge(SPACE, budgets, plain.plan, flash_bytes, lambda b: 0.6 * flash_bytes(b))
        assert gauge.costs(rows).flash_bytes(policies) == pytest.approx(share * full, rel=1e-3)


def test_latency_that_nothing_keeps_is_refused_with_the_nearest_feasible_point(config, tmp_path):
    evaluator = Counting()
    fastest = evaluator.evaluate(Policy.uniform(N_LAYERS, 2, 2))
    fastest_ms = 1e3 * fastest.cycles_median / evaluator.sysclk_hz
    evaluator.measured.clear()
    run_dir = new_run(config("random", budget_latency_ms=0.9 * fastest_ms), root=tmp_path)
    with pytest.raises(ConfigError) as refused:
        run_search(run_dir, evaluator=evaluator)
    assert len(evaluator.measured) <= 7
    text = str(refused.value)
    assert f"is missed by {0.1 * fastest_ms:,.3f} ms" in text
    assert re.search(rf"is {Policy.uniform(N_LAYERS, 2, 2)}: .*{fastest_ms:,.3f} ms", text)


def test_latency_that_only_a_mixture_keeps_is_kept(config, tmp_path):
    """Even layers are fastest at w2a2, odd ones at w4a2; probing finds the mixture of both."""

    class Mixed(Counting):
        def _cycles(self, bits):
            cycles = super()._cycles(np.full_like(bits, 8))
            rank = np.where(np.arange(N_LAYERS) % 2, bits[:, 0] == 4, bits[:, 0] == 2)
            return cycles * (0.8 + 0.02 * bits[:, 1] - 0.2 * rank)

    evaluator = Mixed()
    mixture = SPACE.uniform(2, 2)
    mixture[1::2, 0] = 4
    needed = evaluator.evaluate(to_policy(mixture)).cycles_median
    uniform = evaluator.evaluate(Policy.uniform(N_LAYERS, 2, 2)).cycles_median
    assert needed < uniform
    latency_ms = 1e3 * needed / evaluator.sysclk_hz
    run_dir = new_run(config("random", 8, budget_latency_ms=latency_ms), root=tmp_path)
    run_search(run_dir, evaluator=evaluator)
    assert (front_of(run_dir)["cycles"] <= needed).all()
    assert "probe" in {row.origin for row in read_rows(run_dir)}


def test_what_is_named_as_needed_is_enough(config, tmp_path):
    """Nearest is measured by the factor by which budgets must grow; grown so, the search runs."""
    evaluator = Counting()
    needs = needs_of(evaluator.evaluate(Policy.uniform(N_LAYERS, 2, 2)))
    chosen = {
        "budget_sram_bytes": needs[0] - 50,
        "budget_flash_bytes": int(needs[1] * 0.999),
        "budget_latency_ms": 1e3 * needs[2] / evaluator.sysclk_hz,
    }
    run_dir = new_run(config("random", 12, **chosen), root=tmp_path)
    with pytest.raises(ConfigError) as refused:
        run_search(run_dir, evaluator=evaluator)
    wanted = [
        text.replace(",", "") for text in re.findall(r"\(([\d,.]+) \w+ are", f"{refused.value}")
    ]
    chosen["budget_sram_bytes"], chosen["budget_flash_bytes"] = map(int, wanted)
    run_dir = new_run(config("random", 2, **chosen), root=tmp_path)
    run_search(run_dir, evaluator=evaluator)
    assert budgets_kept(read_frame(run_dir), config("random", **chosen)).tolist() == [False, True]


@pytest.mark.parametrize("method", ["nsga2", "tpe", "sa_mutation"])
def test_under_budgets_a_stopped_search_goes_on_identically(method, config, tmp_path):
    def story(run_dir):
        return [(row.policy, row.origin, row.status) for row in read_rows(run_dir)]

    whole, _ = run_within(method, config, tmp_path, (0.4, 0.6, 0.4), 20)
    budgets = {
        name: value
        for name, value in __import__("json")
        .loads((whole / "run.json").read_text())["config"]
        .items()
        if name.startswith("budget")
    }
    broken = new_run(config(method, 20, **budgets), root=tmp_path)
    for n in (1, 7, 1000):
        calls = iter(range(n))
        run_search(broken, evaluator=EVALUATOR, should_stop=lambda c=calls: next(c, None) is None)
    assert story(broken) == story(whole)


def test_where_wide_policies_do_not_fit_the_board_its_own_memory_is_the_budget(config, tmp_path):
    class SmallBoard(Counting):
        def evaluate(self, policy):
            row = super().evaluate(policy)
            if row.sram_peak_bytes > self.board_sram_bytes:
                return replace(row, status="no_fit_sram", message="too large")
            return row

    evaluator = SmallBoard()
    widest = evaluator.plan(Policy.uniform(N_LAYERS, 8, 8))
    evaluator.board_sram_bytes = widest.memory_bytes // 2
    run_dir = new_run(config("nsga2", 12), root=tmp_path)
    run_search(run_dir, evaluator=evaluator)
    statuses = [row.status for row in read_rows(run_dir)]
    assert statuses[0] == "no_fit_sram"
    assert set(statuses[2:]) == {"ok"}
