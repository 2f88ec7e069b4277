"""A run's figures and summary page, from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.figures import hypervolume_figure, pareto_figure, policy_figure
from mcuq_lab.policy import Policy
from mcuq_lab.results import (
    RunInfo,
    frame_objectives,
    front_mask,
    hypervolume_curve,
    read_frame,
    read_run_info,
    write_atomically,
)
from mcuq_lab.rlquant import float_accuracy_of, layer_names_of, reference_of

METHOD_LABELS = {"rlquant": "RLQuant"}


@dataclass(frozen=True, eq=False)
class Report:
    """What a report consists of: figures by name, and the front as a table."""

    info: RunInfo
    figures: dict[str, Figure]
    front: pd.DataFrame


def make_report(run_dir: Path, baselines: Sequence[Path] = ()) -> Report:
    """Figures and front of a search.

    Args:
        run_dir: a search's run.
        baselines: runs whose rows (other engines, the same network) are drawn beside it.

    Raises:
        ConfigError: a directory is no run, or the search has no successful row yet.
    """
    info = read_run_info(run_dir)
    rows = read_frame(run_dir)
    done = rows[rows["status"] == "ok"]
    if done.empty:
        raise ConfigError(f"{info.id} has no successful row yet; there is nothing to draw.")
    frame = pd.concat(
        [series_of(done, info), *(_baseline(path) for path in baselines)], ignore_index=True
    )
    caption = f"{info.model} on {info.data}, {len(rows)} evaluations, seed {info.seed}"
    figures = {
        "pareto": pareto_figure(frame, float_accuracy=float_accuracy_of(run_dir), caption=caption),
        "hypervolume": hypervolume_figure(hypervolume_frame(run_dir)),
        "policies": policy_figure(list(map(list, rows["policy"])), layer_names_of(run_dir)),
    }
    return Report(info, figures, front_of(run_dir))


def series_of(rows: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """Rows as the Pareto figure wants them: uniform policies are a series of their own."""
    label = engine_named(rows["engine"].iloc[0]).label
    uniform = rows["policy"].map(lambda policy: len(set(policy)) == 1)
    method = METHOD_LABELS.get(info.method, info.method)
    return _drawable(rows).assign(
        series=uniform.map({True: f"{label}, uniform", False: f"{label}, {method}"})
    )


def front_of(run_dir: Path) -> pd.DataFrame:
    """The non-dominated policies of a run, fastest first, as `front_table` lists them."""
    rows = read_frame(run_dir)
    return front_table(rows[front_mask(frame_objectives(rows))].sort_values("cycles_median"))


def front_table(front: pd.DataFrame) -> pd.DataFrame:
    """The front for people: policy, accuracy, cycles, bytes."""
    return pd.DataFrame(
        {
            "policy": [str(Policy.of(policy)) for policy in front["policy"]],
            "accuracy": front["accuracy_quick"].to_numpy(),
            "cycles": front["cycles_median"].to_numpy(),
            "sram_peak_bytes": front["sram_peak_bytes"].to_numpy(),
            "flash_total_bytes": front["flash_total_bytes"].to_numpy(),
        }
    )


def hypervolume_frame(run_dir: Path) -> pd.DataFrame:
    """Hypervolume after each evaluation of a run, as `hypervolume_figure` wants it."""
    info, rows = read_run_info(run_dir), read_frame(run_dir)
    curve = hypervolume_curve(frame_objectives(rows), reference_of(run_dir))
    return pd.DataFrame(
        {
            "method": METHOD_LABELS.get(info.method, info.method),
            "seed": info.seed,
            "evaluation": range(1, len(rows) + 1),
            "seconds": rows["elapsed_s"],
            "hypervolume": curve,
        }
    )


def write_report(run_dir: Path, baselines: Sequence[Path] = ()) -> list[Path]:
    """Writes the figures (PNG and SVG) and `summary.md` into the run; returns their paths.

    Raises:
        ConfigError: as `make_report`.
    """
    report = make_report(run_dir, baselines)
    folder = run_dir / "figures"
    folder.mkdir(exist_ok=True)
    written = []
    for name, figure in report.figures.items():
        for suffix in (".png", ".svg"):
            path = folder / f"{name}{suffix}"
            figure.savefig(path)
            written.append(path)
    summary = run_dir / "summary.md"
    write_atomically(summary, _summary(report).encode())
    return [*written, summary]


def _baseline(run_dir: Path) -> pd.DataFrame:
    rows = read_frame(run_dir)
    rows = rows[rows["status"] == "ok"]
    labels = [engine_named(name).label for name in rows["engine"]]
    policies = [str(Policy.of(policy)) for policy in rows["policy"]]
    return _drawable(rows).assign(
        series=[f"{label}, {policy}" for label, policy in zip(labels, policies, strict=True)]
    )


def _drawable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(cycles=rows["cycles_median"], accuracy=rows["accuracy_quick"])


def _summary(report: Report) -> str:
    info = report.info
    lines = [
        f"# {info.method}: {info.model} on {info.data}, {info.board}",
        "",
        f"Run {info.id}, seed {info.seed}, git {info.git_revision[:12]}"
        + (" (changed)" if info.git_dirty else ""),
        "",
        "![Pareto fronts](figures/pareto.png)",
        "",
        "| policy | accuracy (validation) | cycles | peak SRAM (bytes) | flash (bytes) |",
        "|---|---|---|---|---|",
    ]
    for row in report.front.itertuples():
        lines.append(
            f"| {row.policy} | {100 * row.accuracy:.1f} % | {row.cycles:,.0f} | "
            f"{row.sram_peak_bytes:,.0f} | {row.flash_total_bytes:,.0f} |"
        )
    lines += [
        "",
        "![Hypervolume](figures/hypervolume.png)",
        "",
        "![Policies](figures/policies.png)",
    ]
    return "\n".join(lines) + "\n"
