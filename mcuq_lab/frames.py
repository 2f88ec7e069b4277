"""Measurements and plans as DataFrames, the form in which figures and notebooks want them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from mcuq_lab.claims import judge
from mcuq_lab.comparison import label_of_row
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.liteengine import Plan
from mcuq_lab.measurement import Measurement
from mcuq_lab.published import PublishedLatencies


def measurement_frame(measurements: Iterable[Measurement]) -> pd.DataFrame:
    """One row a measurement; `series` names engine and policy."""
    return pd.DataFrame(
        {
            "series": f"{engine_named(m.engine).label}, {m.policy}",
            "model": m.model,
            "policy": m.policy,
            "engine": m.engine,
            "board": m.bench.board,
            "simulated": m.bench.simulated,
            "sysclk_hz": m.bench.sysclk_hz,
            "flash_wait_states": m.bench.flash_wait_states,
            "cycles": m.cycles,
            "latency_ms": 1e3 * m.latency_s,
            "sram_peak_bytes": m.sram_peak_bytes,
            "flash_total_bytes": m.sizes.flash_total_bytes,
            "bit_exact": m.bit_exact,
        }
        for m in measurements
    )


def layer_frame(measurement: Measurement) -> pd.DataFrame:
    """One row a layer of one measurement, in execution order."""
    return pd.DataFrame(asdict(layer) for layer in measurement.profile)


def read_model_rows(path: Path) -> dict:
    """The document that `mcuq bench models --output` wrote.

    Raises:
        ConfigError: the file is missing, damaged, or another.
    """
    try:
        document = json.loads(path.read_text())
        if not document["rows"]:
            raise ValueError("no rows")
        document["rows"][0]["model"], document["sysclk_hz"], document["flash_wait_states"]
        return document
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} holds no model benchmarks ({error}); "
            "make it with `mcuq bench models --output FILE`."
        ) from error


def model_frame(document: Mapping) -> pd.DataFrame:
    """Rows of `mcuq bench models` as the bar figures want them.

    Args:
        document: what its `--output` writes: `rows`, `sysclk_hz`, `flash_wait_states`.
    """
    frame = pd.DataFrame(document["rows"])
    labels = [label_of_row(row) for row in document["rows"]]
    return frame.assign(
        engine_label=labels,
        series=[
            f"{label}, {policy}" for label, policy in zip(labels, frame["policy"], strict=True)
        ],
        sysclk_hz=document["sysclk_hz"],
        flash_wait_states=document["flash_wait_states"],
    )


def claims_frame(document: Mapping) -> pd.DataFrame:
    """One row a judgement (see `claims.Judgement`) on what `mcuq bench models` wrote.

    `series` is the engine that LiteEngine is compared with; `setting` says at which of its policies
    LiteEngine runs: `fastest` for the fastest that keeps the accuracy, else the uniform policy.
    """
    first = document["rows"][0]
    frame = pd.DataFrame([asdict(judgement) for judgement in judge(document["rows"])])
    return frame.assign(
        series=frame["against_label"],
        setting=frame["policy"].where(frame["basis"] == "uniform", "fastest"),
        board=first["board"],
        simulated=first["simulated"],
        sysclk_hz=document["sysclk_hz"],
        flash_wait_states=document["flash_wait_states"],
    )


def published_frame(published: PublishedLatencies) -> pd.DataFrame:
    """One row a published result: board, core, clock_mhz, stack, round, latency_ms, cycles."""
    return pd.DataFrame(asdict(row) | {"cycles": row.cycles} for row in published.results)


def arena_frame(plan: Plan) -> pd.DataFrame:
    """One row a buffer of LiteEngine's arena, with the steps during which it lives."""
    return pd.DataFrame(asdict(buffer) for buffer in plan.buffers)
