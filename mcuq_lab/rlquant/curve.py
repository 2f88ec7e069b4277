"""What a run's rows amount to: objectives that count, and the hypervolume as it grew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mcuq_lab.results import (
    RunInfo,
    frame_objectives,
    hypervolume_curve,
    read_frame,
    read_run_info,
)
from mcuq_lab.rlquant.budgets import budgets_kept
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.reference import reference_of


def kept_objectives(rows: pd.DataFrame, info: RunInfo) -> np.ndarray:
    """Objectives of a run's rows, (n, 3); those that break its budgets lie at infinity."""
    points = frame_objectives(rows)
    points[~budgets_kept(rows, SearchConfig.from_json(info.config))] = np.inf
    return points


def hypervolume_frame(run_dir: Path) -> pd.DataFrame:
    """Hypervolume after each evaluation of a run: method, seed, evaluation (1..), seconds,
    hypervolume.

    Rows that break the run's budgets count for nothing.
    """
    info, rows = read_run_info(run_dir), read_frame(run_dir)
    curve = hypervolume_curve(kept_objectives(rows, info), reference_of(run_dir))
    return pd.DataFrame(
        {
            "method": info.method,
            "seed": info.seed,
            "evaluation": range(1, len(rows) + 1),
            "seconds": rows["elapsed_s"],
            "hypervolume": curve,
        }
    )
