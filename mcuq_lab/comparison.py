"""Benchmark rows beside each other: how many times fewer cycles than each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mcuq_lab.engines import ENGINES, engine_named

BASELINES = tuple(name for name in ENGINES if name != "liteengine")
NEAREST_POLICY = "w8a8"


def label_of_row(row: Mapping) -> str:
    """The engine of a row as figures name it: as the row says, else as the engine is named now."""
    return row.get("engine_label") or engine_named(row["engine"]).label


def with_ratios(rows: Sequence[Mapping], subject: str) -> list[dict]:
    """Rows with `ratio_<engine>` for each baseline: its cycles over the row's own.

    A baseline is compared at the row's own policy or at its int8, whichever it is faster at: fewer
    bits make several of them slower, and nobody would use them for speed then. The ratio is None
    where it was run at neither. Official libraries are compared where they were run.

    Args:
        rows: of one run of a benchmark, with `policy`, `engine` and `cycles`.
        subject: the column that says what was measured, `layer` or `model`.
    """
    cycles = {(row[subject], row["engine"], row["policy"]): row["cycles"] for row in rows}

    def ratio(row: Mapping, baseline: str) -> float | None:
        policies = {row["policy"]} if row["engine"] == baseline else {row["policy"], NEAREST_POLICY}
        found = [cycles.get((row[subject], baseline, policy)) for policy in policies]
        return min(filter(None, found)) / row["cycles"] if any(found) else None

    official = sorted({row["engine"] for row in rows} - set(ENGINES))
    return [
        dict(row)
        | {f"ratio_{baseline}": ratio(row, baseline) for baseline in (*BASELINES, *official)}
        for row in rows
    ]
