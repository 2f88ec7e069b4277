"""Which lower level ranks policies as full training does: the table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr

from mcuq_lab.errors import ConfigError
from mcuq_lab.quantize.finetuning import LOSS_WINDOW
from mcuq_lab.rlquant.lower_level_study import FULL, Record, Schedule, Score

TOP = 8
_RESAMPLES = 500


@dataclass(frozen=True)
class ScheduleRow:
    """One schedule, read off by one score.

    Attributes:
        score: `top1`, or `kl`: the negative divergence from the float network's answers.
        score_images: validation images that the score takes.
        policies: how many were ranked.
        seconds: CPU seconds of one core a policy, training and score, mean over the policies.
        spearman, kendall: rank correlation with the top-1 of full training.
        spearman_error: standard deviation of the first over resampled policies.
        top_overlap: share of the `TOP` best policies by full training among the best by score.
        given_up: policies whose training ended early as hopeless.
        failed: policies that ended in no network; they rank last.
    """

    model: str
    data: str
    schedule: str
    score: str
    score_images: int
    policies: int
    seconds: float
    spearman: float
    spearman_error: float
    kendall: float
    top_overlap: float
    given_up: int
    failed: int


def tabulate_study(
    records: Sequence[Record], schedules: Sequence[Schedule], model: str, data: str
) -> list[ScheduleRow]:
    """Rows of all schedules and scores, over the policies that every schedule has seen.

    Args:
        records: of a study that need not be finished.
        schedules: which of them are compared.

    Raises:
        ConfigError: fewer than three policies are finished.
    """
    by_policy: dict[str, dict[str, Record]] = {}
    for record in records:
        by_policy.setdefault(record.policy, {})[record.schedule] = record
    wanted = {FULL, *(schedule.name for schedule in schedules)}
    finished = [found for found in by_policy.values() if wanted <= set(found)]
    # Full training that diverged ranks nothing.
    finished = [found for found in finished if found[FULL].scores]
    if len(finished) < 3:
        raise ConfigError(
            f"{len(finished)} policies of the study are finished; a rank correlation needs 3."
        )
    truth = np.array([found[FULL].scores[-1].top1 for found in finished])
    rows = []
    for schedule in schedules:
        tried = [found[schedule.name] for found in finished]
        given_up = sum(len(r.losses) < schedule.batches and bool(r.scores) for r in tried)
        for score, i, images in _readings(tried):
            values = np.array([_value(record, score, i) for record in tried])
            seconds = [r.seconds + (r.scores[i].seconds if r.scores else 0.0) for r in tried]
            rows.append(
                ScheduleRow(
                    model=model,
                    data=data,
                    schedule=schedule.name,
                    score=score,
                    score_images=images,
                    policies=len(finished),
                    seconds=float(np.mean(seconds)),
                    spearman=rank_correlation(values, truth),
                    spearman_error=_resampled_error(values, truth),
                    kendall=float(np.nan_to_num(kendalltau(values, truth).statistic)),
                    top_overlap=top_overlap(values, truth),
                    given_up=given_up,
                    failed=sum(not record.scores for record in tried),
                )
            )
    return rows


def rank_correlation(values: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's; 0 where one side has no order at all."""
    if len(np.unique(values)) < 2 or len(np.unique(truth)) < 2:
        return 0.0
    return float(spearmanr(values, truth).statistic)


def top_overlap(values: np.ndarray, truth: np.ndarray, top: int = TOP) -> float:
    """Share of the `top` best by truth that are among the `top` best by value; of policies that
    tie, those drawn first count as better, on both sides."""
    top = min(top, len(truth))
    best = [set(np.argsort(-side, kind="stable")[:top]) for side in (values, truth)]
    return len(best[0] & best[1]) / top


def hopeless_nats(records: Sequence[Record], schedule: Schedule, least_top1: float) -> float | None:
    """The smallest limit of `LowerLevelConfig.hopeless_nats` that would have ended no policy too
    early: the largest loss, a third into the schedule, of one that full training brought to
    `least_top1`. None: no such policy was seen."""
    full = {r.policy: r.scores[-1].top1 for r in records if r.schedule == FULL and r.scores}
    third = math.ceil(schedule.batches / 3)
    losses = [
        float(np.mean(r.losses[:third][-LOSS_WINDOW:]))
        for r in records
        if r.schedule == schedule.name and r.losses and full.get(r.policy, 0.0) >= least_top1
    ]
    return max(losses, default=None)


def _readings(records: Sequence[Record]) -> Iterator[tuple[str, int, int]]:
    """(score, its index, images) of all that a schedule's records can be read off by."""
    scores: tuple[Score, ...] = max((record.scores for record in records), key=len)
    for name in ("top1", "kl"):
        for i, score in enumerate(scores):
            yield name, i, score.images


def _value(record: Record, score: str, i: int) -> float:
    if not record.scores:
        return -np.inf
    return record.scores[i].top1 if score == "top1" else -record.scores[i].kl_nats


def _resampled_error(values: np.ndarray, truth: np.ndarray) -> float:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(truth), size=(_RESAMPLES, len(truth)))
    return float(np.std([rank_correlation(values[i], truth[i]) for i in drawn]))
