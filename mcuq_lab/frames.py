"""Measurements and plans as DataFrames, the form in which figures and notebooks want them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from mcuq_lab.claims import judge
from mcuq_lab.comparison import label_of_row
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.liteengine import Plan
from mcuq_lab.liteengine.packing.limits import limits
from mcuq_lab.liteengine.packing.polynomial import Family, Packing
from mcuq_lab.measurement import Measurement
from mcuq_lab.policy import MAX_BITS, MIN_BITS
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


def packing_frame(packing: Packing, w_bits: int, a_bits: int) -> pd.DataFrame:
    """One row a field of the registers of one multiplication: register, word, size_bits, low, bits
    and a label, which in the accumulator names the products that meet there."""
    size = packing.instruction.operand_bits
    rows = [("activations", 0, size, p, a_bits, f"a{i}") for i, p in enumerate(packing.a_places)]
    met: dict[int, list[str]] = {}
    for word, places in enumerate(packing.w_words):
        first = sum(map(len, packing.w_words[:word]))
        for number, place in enumerate(places, first):
            rows.append(("weights", word, size, place, w_bits, f"w{number}"))
            for i, a_place in enumerate(packing.a_places):
                met.setdefault(place + a_place, []).append(f"a{i} w{number}")
    accumulator_bits = packing.instruction.accumulator_bits
    for field in packing.fields:
        label = " + ".join(met[field.low])
        rows.append(("accumulator", 0, accumulator_bits, field.low, field.bits, label))
    columns = ("register", "word", "size_bits", "low", "bits", "label")
    return pd.DataFrame(rows, columns=columns)


def packing_limit_frame(weight: np.ndarray, most: int = 5) -> pd.DataFrame:
    """One row a pair of widths: the packing of filter rows for SMLAL that promises most, as it is.

    Args:
        weight: 8-bit weights of a 3x3 convolution, (oc, 3, 3, ic); narrower ones are its upper
            bits.
        most: activations and weights in an operand.

    Returns:
        w_bits, a_bits, macs_per_cycle (with the extraction of results), operands, packing.
    """
    rows = []
    for w_bits, a_bits in product(range(MIN_BITS, MAX_BITS + 1), repeat=2):
        found = limits(Family.ROW, weight.astype(np.int64) >> (8 - w_bits), a_bits, most)
        plain = (limit for limit in found if limit.identity is None)
        best = max(plain, key=lambda limit: limit.macs_per_cycle)
        words = best.packing.w_words
        operands = f"{len(best.packing.a_places)}x{max(map(len, words))}"
        rows.append((w_bits, a_bits, best.macs_per_cycle, operands, str(best.packing)))
    columns = ("w_bits", "a_bits", "macs_per_cycle", "operands", "packing")
    return pd.DataFrame(rows, columns=columns)
