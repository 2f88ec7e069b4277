"""All methods play by the same rules, and what learns beats what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import (
    hypervolume,
    hypervolume_curve,
    objectives,
    read_frame,
    read_rows,
    read_run_info,
)
from mcuq_lab.rlquant import METHODS, AgentConfig, SearchConfig, new_run, reference_of, run_search
from mcuq_lab.rlquant.progress import read_progress

# Greedy has no more than its one path of policies.
MOST_POLICIES = {"greedy": 20}
TINY_AGENT = AgentConfig(
    episodes_per_iteration=20, first_iterations=4, iterations=2, rollouts=64, minibatch_size=100
)


def final_volume(config, evaluator, root):
    run_dir = new_run(config, root=root)
    run_search(run_dir, evaluator=evaluator)
    return hypervolume(objectives(read_rows(run_dir)), reference_of(run_dir))


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"rlquant"}))
def test_a_method_spends_its_budget_on_different_policies(method, config, evaluator, tmp_path):
    n = MOST_POLICIES.get(method, 30)
    run_dir = new_run(config(method, evaluations=n), root=tmp_path)
    progress = run_search(run_dir, evaluator=evaluator)
    rows = read_rows(run_dir)
    assert progress.state == "done"
    assert progress == read_progress(run_dir)
    assert len(rows) == len({row.policy for row in rows}) == progress.evaluations == n
    assert [row.evaluation for row in rows] == list(range(n))
    assert rows[0].origin == "reference"
    assert set(rows[0].policy) == {(8, 8)}
    curve = hypervolume_curve(objectives(rows), reference_of(run_dir))
    assert curve[-1] == pytest.approx(progress.hypervolume)


@pytest.mark.parametrize("method", ["random", "nsga2", "tpe", "sa_mutation", "ilp"])
def test_failures_are_rows_and_the_search_goes_on(method, config, tmp_path):
    evaluator = SyntheticEvaluator(residual_net(), fault_rate=0.3)
    run_dir = new_run(config(method), root=tmp_path)
    progress = run_search(run_dir, evaluator=evaluator)
    frame = read_frame(run_dir)
    failed = frame[frame["status"] == "fault"]
    assert len(frame) == 30
    assert progress.failures == len(failed) > 2
    assert failed["cycles_median"].isna().all()
    assert (failed["message"] == "injected").all()


@pytest.mark.parametrize("method", ["sa_mutation", "sa_nsga2", "ilp"])
def test_what_learns_beats_random_on_every_seed(method, config, tmp_path):
    wins = []
    for seed in range(2):
        evaluator = SyntheticEvaluator(residual_net(), seed=seed)
        ours = final_volume(config(method, 30, seed), evaluator, tmp_path)
        wins.append(ours > final_volume(config("random", 30, seed), evaluator, tmp_path))
    assert all(wins)


class WithScratch(SyntheticEvaluator):
    """An engine whose kernels need much scratch unless the weights of two layers are wide."""

    def plan(self, policy):
        self.planned = getattr(self, "planned", set()) | {policy.pairs}
        return super().plan(policy)

    def _sram_bytes(self, bits):
        return super()._sram_bytes(bits) + 3000 * bool((bits[1:3, 0] < 5).any())


def test_scouts_are_planned_and_change_what_is_measured(config, tmp_path):
    n_planned, measured = {}, {}
    for n in (0, 12):
        evaluator = WithScratch(residual_net())
        settings = replace(config("without_rl").proposals, first_scouts=n, scouts=n)
        run_dir = new_run(config("without_rl", 21, proposals=settings), root=tmp_path)
        run_search(run_dir, evaluator=evaluator)
        n_planned[n] = len(evaluator.planned)
        measured[n] = [row.policy for row in read_rows(run_dir)]
    assert n_planned[12] >= n_planned[0] + 12
    anchors = 1 + len(settings.uniform_anchors) + settings.informed_anchors
    assert measured[12][:anchors] == measured[0][:anchors]
    assert measured[12] != measured[0]


class WithoutPlans(SyntheticEvaluator):
    """An engine that says nothing before it is run."""

    def plan(self, policy):
        return None


def test_an_evaluator_without_plans_is_searched_too(config, tmp_path):
    run_dir = new_run(config("without_rl", 20), root=tmp_path)
    assert run_search(run_dir, evaluator=WithoutPlans(residual_net())).evaluations == 20
    assert all(row.ok for row in read_rows(run_dir))


@pytest.mark.slow
def test_rlquant_beats_random_on_every_seed(config, tmp_path):
    margins = []
    for seed in range(3):
        evaluator = SyntheticEvaluator(residual_net(), seed=seed)
        ours = replace(config("rlquant", 24, seed), agent=TINY_AGENT)
        random = final_volume(config("random", 24, seed), evaluator, tmp_path)
        margins.append(final_volume(ours, evaluator, tmp_path) / random)
    assert min(margins) > 1.2


def test_equal_seeds_give_equal_searches_and_others_do_not(config, evaluator, tmp_path):
    def policies(seed):
        run_dir = new_run(config("sa_mutation", seed=seed), root=tmp_path)
        run_search(run_dir, evaluator=evaluator)
        return [row.policy for row in read_rows(run_dir)]

    assert policies(1) == policies(1)
    assert policies(1) != policies(2)


class NothingFits(SyntheticEvaluator):
    """No policy above 4 bits fits; or none at all."""

    def __init__(self, graph, widest):
        super().__init__(graph)
        self._widest = widest

    def evaluate(self, policy):
        row = super().evaluate(policy)
        if max(bits.a_bits for bits in policy.layers) > self._widest:
            return replace(row, status="no_fit_sram", message="10 bytes too many")
        return row


def test_where_w8a8_does_not_fit_the_next_uniform_policy_is_the_reference(config, tmp_path):
    evaluator = NothingFits(residual_net(), widest=4)
    run_dir = new_run(config("random", 10), root=tmp_path)
    run_search(run_dir, evaluator=evaluator)
    rows = read_rows(run_dir)
    assert [row.status for row in rows[:2]] == ["no_fit_sram", "ok"]
    assert reference_of(run_dir).cycles == pytest.approx(1.1 * rows[1].cycles_median)


def test_where_nothing_fits_the_search_says_so(config, tmp_path):
    run_dir = new_run(config("random", 10), root=tmp_path)
    with pytest.raises(ConfigError, match="10 bytes too many"):
        run_search(run_dir, evaluator=NothingFits(residual_net(), widest=1))
    assert len(read_rows(run_dir)) == 3


def test_unknown_names_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="choose one of rlquant"):
        new_run(config("magic"), root=tmp_path)
    with pytest.raises(ConfigError, match="Lower level"):
        SearchConfig.from_json({"lower_level": {"mode": "sideways"}})
    with pytest.raises(ConfigError, match=r"lower_level\.speed"):
        SearchConfig.from_json({"lower_level": {"speed": 3}})


def test_configuration_survives_its_own_json(config, tmp_path):
    original = config("tpe", budget_latency_ms=12.5)
    run_dir = new_run(original, root=tmp_path)
    assert SearchConfig.from_json(read_run_info(run_dir).config) == original


def test_quiet_on_stdout(config, evaluator, tmp_path, capfd):
    run_search(new_run(config("nsga2", 22), root=tmp_path), evaluator=evaluator)
    assert capfd.readouterr().out == ""
