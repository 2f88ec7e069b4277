"""The study of the lower level: a small network, few policies, and the table of them."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import Dataset
from mcuq_lab.quantize import FinetuneConfig, QatConfig, teach
from mcuq_lab.rlquant.lower_level_study import (
    FULL,
    Record,
    Schedule,
    Score,
    Study,
    StudyConfig,
    draw_policies,
)
from mcuq_lab.rlquant.lower_level_table import (
    hopeless_nats,
    rank_correlation,
    tabulate_study,
    top_overlap,
)
from mcuq_lab.rlquant.space import SearchSpace, to_bits
from tests.quantize.graphs import images, residual_graph

GRAPH = residual_graph()
QUICK = Schedule("weights_and_steps", 6)
CONFIG = StudyConfig(
    policies=4,
    schedules=(Schedule(correct_statistics=False), Schedule(), QUICK),
    score_images=(64, 200, 5000),
    calibration_images=64,
    batch_size=16,
    qat=QatConfig(epochs=2, batch_size=32, augment=False),
)


def labelled(n, seed):
    pictures = images(n, seed=seed)
    return pictures, teach(GRAPH, pictures).logits.argmax(axis=1).astype(np.uint8)


@pytest.fixture(scope="module")
def data():
    """The float network's own answers are the labels, so that it has an accuracy of 1."""
    parts = [part for seed, n in ((1, 256), (2, 240), (3, 8)) for part in labelled(n, seed)]
    return Dataset("none", *parts, ("a",) * 10, "drawn", mirror_keeps_class=True)


def story(records):
    """Records without what the clock said."""
    plain = [asdict(replace(record, seconds=0.0)) for record in records]
    for record in plain:
        for score in record["scores"]:
            score["seconds"] = 0.0
    return plain


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    study = Study(GRAPH, data, CONFIG, tmp_path_factory.mktemp("study"))
    study.run()
    return study


def test_policies_spread_from_the_narrowest_to_the_widest():
    space = SearchSpace(GRAPH)
    policies = draw_policies(space, 24, seed=5)
    bits = to_bits(policies)
    assert len(set(policies)) == 24
    assert (space.canonical(bits) == bits).all()
    means = np.sort(bits.mean(axis=(1, 2)))
    assert (means[0], means[-1]) == (2.0, 8.0)
    assert np.diff(means).max() < 1.0
    # Those of an unfinished study spread as well.
    assert np.ptp(bits[:8].mean(axis=(1, 2))) > 2.0
    assert policies == draw_policies(space, 24, seed=5) != draw_policies(space, 24, seed=6)


def test_a_study_holds_each_policy_under_each_schedule(whole):
    assert len(whole.records) == whole.total == whole.done == 16
    scores = [[score.images for score in record.scores] for record in whole.records]
    assert scores == [[64, 200, 240]] * 16
    lengths = {record.schedule: len(record.losses) for record in whole.records}
    assert lengths == {"post_training": 0, "corrected": 0, "weights_and_steps_6": 6, FULL: 0}
    assert all(record.seconds > 0 for record in whole.records)
    assert whole.float_scores()[-1] == Score(240, 0.0, 1.0, pytest.approx(0.0, abs=1e-6))


def test_an_interrupted_study_ends_as_an_uninterrupted_one(whole, data, tmp_path):
    class Killed(Exception):
        pass

    def kill_after(n):
        seen = []

        def kill(record):
            seen.append(record)
            if len(seen) == n:
                raise Killed

        return kill

    for n in (1, 5, 3):
        with pytest.raises(Killed):
            Study(GRAPH, data, CONFIG, tmp_path).run(kill_after(n))
    left = []
    broken = Study(GRAPH, data, CONFIG, tmp_path)
    assert broken.done == 9
    broken.run(left.append)
    assert len(left) == 7
    assert story(broken.records) == story(whole.records)


def test_another_study_or_a_damaged_one_is_refused(data, tmp_path):
    Study(GRAPH, data, CONFIG, tmp_path)
    Study(GRAPH, data, replace(CONFIG, schedules=(QUICK,)), tmp_path)  # schedules may change
    with pytest.raises(ConfigError, match="other seed"):
        Study(GRAPH, data, replace(CONFIG, seed=1), tmp_path)
    (tmp_path / "records.json").write_text('[{"policy": 3}]')
    with pytest.raises(ConfigError, match="cannot be read"):
        Study(GRAPH, data, CONFIG, tmp_path)
    with pytest.raises(ConfigError, match="3 policies"):
        StudyConfig(policies=2)
    with pytest.raises(ConfigError, match="one name"):
        StudyConfig(schedules=(QUICK, QUICK))


def test_giving_up_ends_training_early_and_nothing_else(whole, data, tmp_path):
    thirds = sorted(np.mean(r.losses[:2]) for r in whole.records if r.schedule == QUICK.name)
    limit = float(np.mean(thirds[1:3]))
    giving_up = replace(QUICK, hopeless_nats=limit)
    config = replace(CONFIG, schedules=(QUICK, giving_up))
    study = Study(GRAPH, data, config, tmp_path)
    study.run()
    records = {(r.policy, r.schedule): r for r in study.records}
    twins = [(records[str(p), QUICK.name], records[str(p), giving_up.name]) for p in study.policies]
    assert sorted(len(early.losses) for _, early in twins) == [2, 2, 6, 6]
    for late, early in twins:
        assert early.losses == late.losses[: len(early.losses)]
        if len(early.losses) == 6:
            assert early.scores == late.scores
    rows = tabulate_study(study.records, config.schedules, "m", "d")
    assert {(row.schedule, row.given_up) for row in rows} == {(QUICK.name, 0), (giving_up.name, 2)}


def test_the_limit_of_giving_up_spares_all_that_reach_the_goal():
    def record(policy, schedule, losses, top1):
        return Record(policy, schedule, 1.0, losses, (Score(10, 1.0, top1, 0.0),))

    schedule = Schedule("steps", 6)
    records = [
        *(record("a", name, (9.0, 1.0, 0.0), 0.8) for name in (FULL, schedule.name)),
        *(record("b", name, (9.0, 3.0, 0.0), 0.2) for name in (FULL, schedule.name)),
    ]
    assert hopeless_nats(records, schedule, 0.5) == 5.0
    assert hopeless_nats(records, schedule, 0.1) == 6.0
    assert hopeless_nats(records, schedule, 0.9) is None
    spared = FinetuneConfig(batches=6, hopeless_nats=5.0)
    assert not spared.is_hopeless([9.0, 1.0])
    assert spared.is_hopeless([9.0, 1.1])
    assert not spared.is_hopeless([9.0])


def test_the_table_says_how_well_a_score_ranks(whole):
    rows = tabulate_study(whole.records, CONFIG.schedules, "m", "d")
    assert len(rows) == 3 * 2 * 3
    assert {row.policies for row in rows} == {4}
    kl = [r for r in rows if (r.schedule, r.score, r.score_images) == (QUICK.name, "kl", 240)]
    assert kl[0].spearman > 0.7
    by_images = [r.seconds for r in rows if (r.schedule, r.score) == (QUICK.name, "kl")]
    assert by_images == sorted(by_images)
    with pytest.raises(ConfigError, match="3"):
        tabulate_study(whole.records[:11], CONFIG.schedules, "m", "d")


def test_what_ended_in_no_network_ranks_last():
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    assert rank_correlation(np.array([-np.inf, 0.2, 0.3, 0.4]), truth) == pytest.approx(1.0)
    assert rank_correlation(np.array([-np.inf] * 4), truth) == 0.0
    assert top_overlap(truth, truth, 2) == 1.0
    assert top_overlap(-truth, truth, 2) == 0.0
