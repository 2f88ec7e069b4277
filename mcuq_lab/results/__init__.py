"""Results: the schema of a row, the store that survives kill -9, Pareto front and hypervolume."""

from mcuq_lab.results.pareto import (
    OBJECTIVES,
    ReferencePoint,
    frame_objectives,
    front_mask,
    hypervolume,
    hypervolume_curve,
    objectives,
)
from mcuq_lab.results.schema import (
    PHASES,
    SCHEMA,
    SCHEMA_VERSION,
    Row,
    from_table,
    measured_columns,
    to_table,
)
from mcuq_lab.results.store import (
    RUNS_DIR,
    RunInfo,
    append_rows,
    create_run,
    provenance,
    read_frame,
    read_frames,
    read_rows,
    read_run_info,
    write_atomically,
)

__all__ = [
    "OBJECTIVES",
    "PHASES",
    "RUNS_DIR",
    "SCHEMA",
    "SCHEMA_VERSION",
    "ReferencePoint",
    "Row",
    "RunInfo",
    "append_rows",
    "create_run",
    "frame_objectives",
    "from_table",
    "front_mask",
    "hypervolume",
    "hypervolume_curve",
    "measured_columns",
    "objectives",
    "provenance",
    "read_frame",
    "read_frames",
    "read_rows",
    "read_run_info",
    "to_table",
    "write_atomically",
]
