"""Measurements and plans as DataFrames, the form in which figures and notebooks want them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict

import pandas as pd

from mcuq_lab.engines import engine_named
from mcuq_lab.liteengine import Plan
from mcuq_lab.measurement import Measurement


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


def model_frame(document: Mapping) -> pd.DataFrame:
    """Rows of `mcuq bench models` as the bar figures want them.

    Args:
        document: what its `--output` writes: `rows`, `sysclk_hz`, `flash_wait_states`.
    """
    frame = pd.DataFrame(document["rows"])
    labels = [engine_named(name).label for name in frame["engine"]]
    return frame.assign(
        series=[
            f"{label}, {policy}" for label, policy in zip(labels, frame["policy"], strict=True)
        ],
        sysclk_hz=document["sysclk_hz"],
        flash_wait_states=document["flash_wait_states"],
    )


def arena_frame(plan: Plan) -> pd.DataFrame:
    """One row a buffer of LiteEngine's arena, with the steps during which it lives."""
    return pd.DataFrame(asdict(buffer) for buffer in plan.buffers)
