"""The poster's claims beside what was measured: a verdict for each network, engine and claim.

A claim counts as reached from the lower end of the range that it names. Two comparisons are made:

`fastest`: LiteEngine at the fastest of its policies that keeps the float network's accuracy within
    a point, against each engine at its own best policy among those that keep it too: its fastest
    for speed, its smallest for memory. This is the comparison of the poster.
`uniform`: LiteEngine at each uniform policy, whatever its accuracy, against each engine at the
    same policy or at its int8, whichever is better for it (see `comparison`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mcuq_lab.comparison import NEAREST_POLICY, label_of_row
from mcuq_lab.published import PosterClaims, Span, poster_claims

OURS = "liteengine"
FLOAT = "float"
TOLERANCE_POINTS = 1.0
"""Accuracy counts as kept if at most so much of it is lost."""

REACHED, NOT_REACHED, BEATEN, NOT_MEASURED = (
    "reached",
    "not reached",
    "beaten by",
    "not measured",
)

_METRICS = {"speed": "cycles", "peak SRAM": "sram_peak_bytes", "flash": "flash_total_bytes"}
CLAIMS = (*_METRICS, "accuracy")


@dataclass(frozen=True)
class Judgement:
    """One claim, of one network, against one engine.

    Attributes:
        basis: which comparison: `fastest` or `uniform`, see above.
        claim: one of `CLAIMS`.
        policy, origin: LiteEngine's, and how its integers were made.
        against: the engine, or `float` for the float network's accuracy.
        against_label, against_policy: how figures name it; its policy.
        measured: how many times fewer cycles or bytes LiteEngine needs; for accuracy, by how many
            points it lies above the other. None where an accuracy is not known.
        low, high: the range that the claim names; for accuracy the points that may be lost.
        verdict: `reached`, `not reached`, `beaten by <engine>`, or `not measured`.
    """

    basis: str
    model: str
    claim: str
    policy: str
    origin: str
    against: str
    against_label: str
    against_policy: str
    measured: float | None
    low: float
    high: float | None
    verdict: str


def judge(rows: Sequence[Mapping], claims: PosterClaims | None = None) -> tuple[Judgement, ...]:
    """All judgements on rows of `mcuq bench models`, network by network.

    A network without trained weights has no accuracy, so no `fastest` comparison either.
    """
    claims = claims or poster_claims()
    found: list[Judgement] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        own = [row for row in of_model if row["engine"] == OURS]
        if chosen := fastest_keeping_accuracy(own):
            found += _against_all("fastest", chosen, of_model, claims, _best)
        for row in own:
            if "," not in row["policy"]:
                found += _against_all("uniform", row, of_model, claims, _nearest)
    return tuple(found)


def keeps_accuracy(row: Mapping) -> bool:
    """Whether a row's accuracy lies at most a point below the float network's."""
    points = _points(row, row.get("float_accuracy"))
    return points is not None and points >= -TOLERANCE_POINTS


def fastest_keeping_accuracy(rows: Iterable[Mapping]) -> Mapping | None:
    """The row of fewest cycles among those that keep the accuracy, None if none does."""
    return min(filter(keeps_accuracy, rows), key=lambda row: row["cycles"], default=None)


@dataclass(frozen=True)
class Summary:
    """One claim of the poster over all networks and engines.

    `lowest` and `highest` are of what was measured; the counts are of judgements.
    """

    claim: str
    low: float
    high: float | None
    lowest: float
    highest: float
    reached: int
    not_reached: int
    beaten: int


def summarise(judgements: Iterable[Judgement]) -> tuple[Summary, ...]:
    """The `fastest` comparison in one line a claim; claims without a measurement are left out."""
    main = [j for j in judgements if j.basis == "fastest" and j.measured is not None]
    by_claim = ([j for j in main if j.claim == claim] for claim in CLAIMS)
    return tuple(map(_summary, filter(None, by_claim)))


@dataclass(frozen=True)
class Gain:
    """LiteEngine at one policy against LiteEngine at w8a8: what fewer bits bring, and cost.

    Factors of cycles, peak SRAM and flash (above 1: w8a8 needs more), and points of accuracy.
    """

    model: str
    policy: str
    origin: str
    speed: float
    sram: float
    flash: float
    accuracy_points: float | None


def gains_of_packing(rows: Sequence[Mapping]) -> tuple[Gain, ...]:
    """Each policy of LiteEngine's below w8a8 against its own w8a8: the rest is engineering."""
    own = [row for row in rows if row["engine"] == OURS]
    int8 = {row["model"]: row for row in own if row["policy"] == NEAREST_POLICY}
    return tuple(
        _gain(row, int8[row["model"]])
        for row in own
        if row["policy"] != NEAREST_POLICY and row["model"] in int8
    )


def _gain(row: Mapping, int8: Mapping) -> Gain:
    factors = [int8[metric] / row[metric] for metric in _METRICS.values()]
    points = _points(row, int8.get("accuracy"))
    return Gain(row["model"], row["policy"], row.get("origin", ""), *factors, points)


def _summary(judgements: Sequence[Judgement]) -> Summary:
    first = judgements[0]
    measured = [j.measured for j in judgements]
    return Summary(
        claim=first.claim,
        low=first.low,
        high=first.high,
        lowest=min(measured),
        highest=max(measured),
        reached=sum(j.verdict == REACHED for j in judgements),
        not_reached=sum(j.verdict == NOT_REACHED for j in judgements),
        beaten=sum(j.verdict.startswith(BEATEN) for j in judgements),
    )


_Choice = Callable[[Mapping, Sequence[Mapping], str], Mapping]


def _against_all(
    basis: str, own: Mapping, of_model: Sequence[Mapping], claims: PosterClaims, choose: _Choice
) -> Iterator[Judgement]:
    engines = dict.fromkeys(row["engine"] for row in of_model if row["engine"] != OURS)
    yield _judge_accuracy(basis, own, own.get("float_accuracy"), (FLOAT, FLOAT, "float32"))
    for engine in engines:
        theirs = [row for row in of_model if row["engine"] == engine]
        for claim, metric in _METRICS.items():
            span = claims.speed if claim == "speed" else claims.memory
            yield _judge_factor(basis, claim, own, choose(own, theirs, metric), metric, span)
        if int8 := _at(theirs, NEAREST_POLICY):
            names = engine, label_of_row(int8), NEAREST_POLICY
            yield _judge_accuracy(basis, own, int8.get("accuracy"), names)


def _best(own: Mapping, theirs: Sequence[Mapping], metric: str) -> Mapping:
    """An engine's best row for a metric among those that keep the accuracy."""
    kept = list(filter(keeps_accuracy, theirs)) or [_nearest(own, theirs, metric)]
    return min(kept, key=lambda row: row[metric])


def _nearest(own: Mapping, theirs: Sequence[Mapping], metric: str) -> Mapping:
    """An engine's row at the same policy or at its int8, the better for it; else any there is."""
    rows = [_at(theirs, policy) for policy in (own["policy"], NEAREST_POLICY)]
    return min(filter(None, rows), key=lambda row: row[metric], default=theirs[0])


def _at(rows: Sequence[Mapping], policy: str) -> Mapping | None:
    return next((row for row in rows if row["policy"] == policy), None)


def _judge_factor(
    basis: str, claim: str, own: Mapping, other: Mapping, metric: str, span: Span
) -> Judgement:
    measured = other[metric] / own[metric]
    label = label_of_row(other)
    if measured >= span.low:
        verdict = REACHED
    else:
        verdict = NOT_REACHED if measured >= 1 else f"{BEATEN} {label}"
    names = other["engine"], label, other["policy"]
    return _judgement(basis, claim, own, names, measured, (span.low, span.high), verdict)


def _judge_accuracy(
    basis: str, own: Mapping, reference: float | None, names: tuple[str, str, str]
) -> Judgement:
    points = _points(own, reference)
    if points is None:
        verdict = NOT_MEASURED
    elif points >= -TOLERANCE_POINTS:
        verdict = REACHED
    else:
        verdict = NOT_REACHED if names[0] == FLOAT else f"{BEATEN} {names[1]}"
    return _judgement(basis, "accuracy", own, names, points, (-TOLERANCE_POINTS, None), verdict)


def _judgement(
    basis: str,
    claim: str,
    own: Mapping,
    names: tuple[str, str, str],
    measured: float | None,
    span: tuple[float, float | None],
    verdict: str,
) -> Judgement:
    """`names` are the other engine's name, label and policy."""
    against, label, policy = names
    return Judgement(
        basis=basis,
        model=own["model"],
        claim=claim,
        policy=own["policy"],
        origin=own.get("origin", ""),
        against=against,
        against_label=label,
        against_policy=policy,
        measured=measured,
        low=span[0],
        high=span[1],
        verdict=verdict,
    )


def _points(row: Mapping, reference: float | None) -> float | None:
    """Points of accuracy above a reference.

    Rounded to a thousandth, so that a loss of exactly one point is not taken for more.
    """
    if reference is None or row.get("accuracy") is None:
        return None
    return round(100 * (row["accuracy"] - reference), 3)
