"""One row of results: an evaluated policy, whatever became of it.

Rows of all runs, engines and boards share this schema, so that any selection of them is one table.
A failure (does not fit, hangs, faults) is a row too: its status says which, `message` says why, and
what was not reached is null. Latency in ms is derived from cycles and clock, never stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields

import pyarrow as pa

from mcuq_lab.errors import ConfigError
from mcuq_lab.measurement import STATUSES, Measurement

SCHEMA_VERSION = 1

PHASES = ("propose", "finetune", "accuracy", "generate", "build", "flash", "run", "reference")


@dataclass(frozen=True)
class Row:
    """One evaluated policy. None stands for "not reached".

    Attributes:
        evaluation: number of the evaluation in its run, from 0.
        model, data, board: names, as on the command line.
        engine: `liteengine`, `cmsis_nn`, ...
        policy: ((w_bits, a_bits), ...) in graph order.
        origin: what proposed the policy (`anchor`, `agent`, `mutation`, ...).
        status: one of `mcuq_lab.measurement.STATUSES`; `message` says more about a failure, or that
            training below the policy was cut short.
        simulated: whether the simulated board answered.
        cycles_min, cycles_median, cycles_max: of one inference, over the inputs that were run.
        sysclk_hz, flash_wait_states: at which clock.
        sram_peak_bytes: static + arena + stack; scratch is part of the arena.
        accuracy_quick: what the search saw (fraction of 1, on its validation split).
        accuracy_full: the same net on the test set; only for rows that were promoted.
        n_images: images behind `accuracy_quick`.
        bit_exact: whether all outputs of the board equalled the integer reference.
        layer_names, layer_cycles: each entry of the engine's layer list, from one profiled run.
        seconds: wall-clock seconds by phase (`PHASES`); some phases go on side by side.
        elapsed_s: seconds that the run had worked when the row was written, pauses left out.
    """

    evaluation: int
    model: str
    data: str
    board: str
    engine: str
    policy: tuple[tuple[int, int], ...]
    origin: str
    status: str
    message: str = ""
    simulated: bool | None = None
    cycles_min: int | None = None
    cycles_median: int | None = None
    cycles_max: int | None = None
    sysclk_hz: int | None = None
    flash_wait_states: int | None = None
    sram_static_bytes: int | None = None
    sram_arena_bytes: int | None = None
    sram_scratch_bytes: int | None = None
    sram_stack_bytes: int | None = None
    sram_peak_bytes: int | None = None
    flash_code_bytes: int | None = None
    flash_weights_bytes: int | None = None
    flash_total_bytes: int | None = None
    accuracy_quick: float | None = None
    accuracy_full: float | None = None
    n_images: int | None = None
    bit_exact: bool | None = None
    elf_sha256: str | None = None
    layer_names: tuple[str, ...] = ()
    layer_cycles: tuple[int, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    elapsed_s: float = 0.0
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ConfigError(
                f"'{self.status}' is no status of a result row; choose one of {', '.join(STATUSES)}"
            )
        unknown = set(self.seconds) - set(PHASES)
        if unknown:
            raise ConfigError(
                f"'{', '.join(sorted(unknown))}' is no phase of an evaluation; "
                f"known phases: {', '.join(PHASES)}."
            )

    @property
    def ok(self) -> bool:
        return self.status == "ok"


_PAIR = pa.struct([("w_bits", pa.uint8()), ("a_bits", pa.uint8())])

SCHEMA = pa.schema(
    [
        ("evaluation", pa.int32()),
        ("model", pa.string()),
        ("data", pa.string()),
        ("board", pa.string()),
        ("engine", pa.string()),
        ("policy", pa.list_(_PAIR)),
        ("origin", pa.string()),
        ("status", pa.string()),
        ("message", pa.string()),
        ("simulated", pa.bool_()),
        ("cycles_min", pa.int64()),
        ("cycles_median", pa.int64()),
        ("cycles_max", pa.int64()),
        ("sysclk_hz", pa.int64()),
        ("flash_wait_states", pa.int32()),
        ("sram_static_bytes", pa.int64()),
        ("sram_arena_bytes", pa.int64()),
        ("sram_scratch_bytes", pa.int64()),
        ("sram_stack_bytes", pa.int64()),
        ("sram_peak_bytes", pa.int64()),
        ("flash_code_bytes", pa.int64()),
        ("flash_weights_bytes", pa.int64()),
        ("flash_total_bytes", pa.int64()),
        ("accuracy_quick", pa.float64()),
        ("accuracy_full", pa.float64()),
        ("n_images", pa.int32()),
        ("bit_exact", pa.bool_()),
        ("elf_sha256", pa.string()),
        ("layer_names", pa.list_(pa.string())),
        ("layer_cycles", pa.list_(pa.int64())),
        *((f"seconds_{phase}", pa.float64()) for phase in PHASES),
        ("elapsed_s", pa.float64()),
        ("schema_version", pa.int32()),
    ],
    metadata={"mcuq_schema_version": str(SCHEMA_VERSION)},
)


def to_table(rows: Iterable[Row]) -> pa.Table:
    """Rows as an Arrow table in `SCHEMA`."""
    return pa.Table.from_pylist([_to_record(row) for row in rows], schema=SCHEMA)


def from_table(table: pa.Table) -> list[Row]:
    """The rows of a table that `to_table` made.

    Raises:
        ConfigError: the table lacks a column of this schema version.
    """
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise ConfigError(
            f"The table lacks the columns {', '.join(missing)}; it was not written as a part of a "
            f"run in schema version {SCHEMA_VERSION}."
        )
    return [_from_record(record) for record in table.to_pylist()]


def measured_columns(measurement: Measurement) -> dict:
    """The columns of `Row` that a measurement on a board fills, `seconds` included."""
    cycles, sizes, bench = measurement.run.cycles, measurement.sizes, measurement.bench
    return {
        "model": measurement.model,
        "data": measurement.data,
        "board": bench.board,
        "engine": measurement.engine,
        "status": "ok",
        "simulated": bench.simulated,
        "cycles_min": int(cycles.min()),
        "cycles_median": measurement.cycles,
        "cycles_max": int(cycles.max()),
        "sysclk_hz": bench.sysclk_hz,
        "flash_wait_states": bench.flash_wait_states,
        "sram_static_bytes": sizes.sram_static_bytes,
        "sram_arena_bytes": sizes.sram_arena_bytes,
        "sram_scratch_bytes": measurement.scratch_bytes,
        "sram_stack_bytes": measurement.run.stack_bytes,
        "sram_peak_bytes": measurement.sram_peak_bytes,
        "flash_code_bytes": sizes.flash_code_bytes,
        "flash_weights_bytes": sizes.flash_weights_bytes,
        "flash_total_bytes": sizes.flash_total_bytes,
        "bit_exact": measurement.bit_exact,
        "elf_sha256": measurement.elf_sha256,
        "layer_names": tuple(layer.name for layer in measurement.layers),
        "layer_cycles": tuple(int(c) for c in measurement.run.layer_cycles),
        "seconds": {k: float(v) for k, v in measurement.seconds.items() if k in PHASES},
    }


def _to_record(row: Row) -> dict:
    record = asdict(row)
    record["policy"] = [{"w_bits": w, "a_bits": a} for w, a in row.policy]
    seconds = record.pop("seconds")
    return record | {f"seconds_{phase}": seconds.get(phase) for phase in PHASES}


def _from_record(record: dict) -> Row:
    names = {f.name for f in fields(Row)} - {"seconds"}
    values = {name: record[name] for name in names}
    values["policy"] = tuple((pair["w_bits"], pair["a_bits"]) for pair in record["policy"])
    values["layer_names"] = tuple(record["layer_names"])
    values["layer_cycles"] = tuple(record["layer_cycles"])
    seconds = {phase: record[f"seconds_{phase}"] for phase in PHASES}
    values["seconds"] = {phase: s for phase, s in seconds.items() if s is not None}
    return Row(**values)
