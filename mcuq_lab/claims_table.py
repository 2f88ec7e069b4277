"""The judgements of `claims` as a Markdown page and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from mcuq_lab.claims import (
    BEATEN,
    CLAIMS,
    FLOAT,
    NOT_MEASURED,
    OURS,
    TOLERANCE_POINTS,
    Gain,
    Judgement,
    Summary,
    gains_of_packing,
    judge,
    summarise,
)
from mcuq_lab.comparison import label_of_row
from mcuq_lab.policy import policy_label
from mcuq_lab.published import poster_claims

_IN_SHORT = (
    "One verdict for each network and engine, at the fastest policy of LiteEngine's that keeps the "
    f"float network's accuracy within {TOLERANCE_POINTS:g} point. Each engine stands at its own "
    "best policy among those that keep it too: its fastest for speed, its smallest for memory. A "
    "claim counts as reached from the lower end of its range; below 1x the other engine is better."
)
_NO_ACCURACY = (
    "No row has an accuracy that is within the tolerance of its float network's: nothing to judge."
)
_SHORT_POLICIES = ("w8a8", "w4a4", "w2a2")
"""Uniform policies of the page; the JSON document has all that were measured."""


def claims_document(document: Mapping) -> dict:
    """All judgements on what `mcuq bench models` wrote, with its provenance, as plain values."""
    rows = document["rows"]
    judgements = judge(rows)
    kept = {key: value for key, value in document.items() if key not in ("rows", "command")}
    return kept | {
        "source": poster_claims().source,
        "summary": [asdict(line) for line in summarise(judgements)],
        "judgements": [asdict(judgement) for judgement in judgements],
        "gains_of_packing": [asdict(gain) for gain in gains_of_packing(rows)],
    }


def claims_page(document: Mapping) -> str:
    """The same for people: the claims in short, network by network, and what packing brings."""
    rows = document["rows"]
    judgements = judge(rows)
    fastest = [j for j in judgements if j.basis == "fastest"]
    short = [j for j in judgements if j.basis == "uniform" and j.policy in _SHORT_POLICIES]
    return "\n".join(
        (
            "# The poster's claims beside what was measured",
            "",
            _provenance(document),
            "",
            "## In short",
            "",
            _IN_SHORT,
            "",
            *(_summary_table(summarise(judgements)) if fastest else [_NO_ACCURACY]),
            "",
            "## Network by network",
            "",
            *(_verdict_table(fastest, rows) if fastest else [_NO_ACCURACY]),
            "",
            "## Uniform policies, whatever their accuracy",
            "",
            "Each engine stands at the same policy or at its int8, whichever is better for it.",
            "",
            *_verdict_table(short, rows),
            "",
            "## What packing brings",
            "",
            "LiteEngine against LiteEngine at w8a8; what the tables above show beyond that is "
            "engineering.",
            "",
            *_gain_table(gains_of_packing(rows)),
            "",
            "## How the engines were run",
            "",
            *_notes(rows),
            "",
        )
    )


def _provenance(document: Mapping) -> str:
    first = document["rows"][0]
    kind = "simulated" if first["simulated"] else "real"
    scored = max((row.get("n_images") or 0 for row in document["rows"]), default=0)
    accuracy = f"; accuracy on {scored:,} test images of {first.get('data')}" if scored else ""
    return (
        f"Claims: {poster_claims().source}. Measured on the {kind} {first['board']} at "
        f"{document['sysclk_hz'] / 1e6:g} MHz, {document['flash_wait_states']} wait states, "
        f"{document.get('compiler', 'unknown compiler')}{accuracy}. Revision "
        f"{document.get('git_revision', 'unknown')[:12]}"
        f"{' (changed)' if document.get('git_dirty') else ''}."
    )


def _summary_table(lines: Sequence[Summary]) -> list[str]:
    rows = []
    for line in lines:
        of = line.reached + line.not_reached + line.beaten
        if line.high is None:
            claimed = "kept"
            measured = f"{line.lowest:+.1f} to {line.highest:+.1f} points"
        else:
            claimed = f"{line.low:g} to {line.high:g}x"
            measured = f"{line.lowest:.1f} to {line.highest:.1f}x"
        counts = (f"{line.reached} of {of}", str(line.not_reached), str(line.beaten))
        rows.append((line.claim, claimed, measured, *counts))
    return _table(("claim", "claimed", "measured", "reached", "not reached", "beaten"), rows)


def _verdict_table(judgements: Sequence[Judgement], rows: Sequence[Mapping]) -> list[str]:
    own = {(row["model"], row["policy"]): row for row in rows if row["engine"] == OURS}
    kept = {(j.model, j.policy): j for j in judgements if j.against == FLOAT}
    cells: dict[tuple[str, str, str], dict[str, Judgement]] = {}
    for j in judgements:
        if j.against != FLOAT:
            cells.setdefault((j.model, j.policy, j.against_label), {})[j.claim] = j
    lines = [
        (
            model,
            f"{policy_label(policy)}{_origin(own[model, policy])}",
            _accuracy(own[model, policy], kept[model, policy]),
            against,
            *(_cell(found.get(claim)) for claim in CLAIMS),
        )
        for (model, policy, against), found in cells.items()
    ]
    header = ("network", "LiteEngine", "accuracy (float)", "against", *CLAIMS)
    return _table(header, lines)


def _origin(row: Mapping) -> str:
    return f", {row['origin']}" if row.get("origin") else ""


def _accuracy(row: Mapping, judgement: Judgement) -> str:
    if judgement.measured is None:
        return NOT_MEASURED
    percent = f"{100 * row['accuracy']:.1f} % ({100 * row['float_accuracy']:.1f} %)"
    return f"{percent}, {judgement.verdict}"


def _cell(judgement: Judgement | None) -> str:
    if judgement is None:
        return ""
    if judgement.measured is None:
        return NOT_MEASURED
    at = "" if judgement.claim == "accuracy" else f" ({judgement.against_policy})"
    verdict = f"{BEATEN} it" if judgement.verdict.startswith(BEATEN) else judgement.verdict
    text = (
        f"{judgement.measured:+.1f} points"
        if judgement.claim == "accuracy"
        else f"{judgement.measured:.2f}x"
    )
    return f"{text}, {verdict}{at}"


def _gain_table(gains: Iterable[Gain]) -> list[str]:
    lines = [
        (
            gain.model,
            policy_label(gain.policy) + (f", {gain.origin}" if gain.origin else ""),
            *(f"{factor:.2f}x" for factor in (gain.speed, gain.sram, gain.flash)),
            "not known" if gain.accuracy_points is None else f"{gain.accuracy_points:+.1f} points",
        )
        for gain in gains
    ]
    return _table(("network", "policy", "speed", "peak SRAM", "flash", "accuracy"), lines)


def _notes(rows: Sequence[Mapping]) -> list[str]:
    """Each engine's note, with the networks that it holds for."""
    models: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.get("note"):
            named = models.setdefault((label_of_row(row), row["note"]), [])
            if row["model"] not in named:
                named.append(row["model"])
    return [f"- {label}, {', '.join(named)}: {note}." for (label, note), named in models.items()]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
