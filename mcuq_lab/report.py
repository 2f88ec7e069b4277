"""A run's figures and summary page, from its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy
from mcuq_lab.results import (
    FINALS,
    RunInfo,
    front_mask,
    read_frame,
    read_run_info,
    write_atomically,
)
from mcuq_lab.rlquant import (
    float_accuracy_of,
    hypervolume_frame,
    kept_objectives,
    layer_names_of,
    reference_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHOD_LABELS = {"rlquant": "RLQuant", "without_rl": "RLQuant without RL"}


@dataclass(frozen=True, eq=False)
class Report:
    """What a report consists of: figures by name, the front as a table, and the policies that
    `mcuq finalize` has trained in full, as `finals_of` lists them."""

    info: RunInfo
    figures: dict[str, Figure]
    front: pd.DataFrame
    finals: pd.DataFrame


def make_report(
    run_dir: Path, baselines: Sequence[Path] = (), rivals: Sequence[Path] = ()
) -> Report:
    """Figures and front of a search.

    Args:
        run_dir: a search's run.
        baselines: runs whose rows (other engines, the same network) are drawn beside it.
        rivals: other searches of the same problem, by other methods or with other seeds, whose
            hypervolume is drawn beside its own.

    Raises:
        ConfigError: a directory is no run, the search has no successful row yet, or a rival's
            problem is another one.
    """
    from mcuq_lab.figures import pareto_figure, policy_figure  # matplotlib with it

    info = read_run_info(run_dir)
    rows = read_frame(run_dir)
    done = rows[rows["status"] == "ok"]
    if done.empty:
        raise ConfigError(f"{info.id} has no successful row yet; there is nothing to draw.")
    drawn = [series_of(done, info), _final_series(run_dir, info)]
    drawn += [_baseline(path) for path in baselines]
    frame = pd.concat([rows for rows in drawn if not rows.empty], ignore_index=True)
    caption = f"{info.model} on {info.data}, {len(rows)} evaluations, seed {info.seed}"
    figures = {
        "pareto": pareto_figure(frame, float_accuracy=float_accuracy_of(run_dir), caption=caption),
        "hypervolume": curve_figure(
            _curves(run_dir, info, rivals),
            board=info.board,
            simulated=bool(done["simulated"].iloc[0]),
        ),
        "policies": policy_figure(list(map(list, rows["policy"])), layer_names_of(run_dir)),
    }
    return Report(info, figures, front_of(run_dir), finals_of(run_dir))


def curve_figure(curves: pd.DataFrame, **settings: Any) -> Figure:
    """`hypervolume_figure` of rows of `hypervolume_frame`, methods by the names that people use;
    `settings` are its other arguments."""
    from mcuq_lab.figures import hypervolume_figure  # matplotlib with it

    labelled = curves.assign(method=curves["method"].replace(METHOD_LABELS))
    return hypervolume_figure(labelled, **settings)


def series_of(rows: pd.DataFrame, info: RunInfo) -> pd.DataFrame:
    """Rows as the Pareto figure wants them: uniform policies are a series of their own."""
    label = engine_named(rows["engine"].iloc[0]).label
    uniform = rows["policy"].map(lambda policy: len(set(policy)) == 1)
    method = METHOD_LABELS.get(info.method, info.method)
    return _drawable(rows).assign(
        series=uniform.map({True: f"{label}, uniform", False: f"{label}, {method}"})
    )


def front_of(run_dir: Path) -> pd.DataFrame:
    """The non-dominated policies of a run that keep its budgets, fastest first, as `front_table`
    lists them."""
    rows = read_frame(run_dir)
    points = kept_objectives(rows, read_run_info(run_dir))
    return front_table(rows[front_mask(points)].sort_values("cycles_median"))


def finals_of(run_dir: Path) -> pd.DataFrame:
    """The policies of a run that were trained in full, fastest first; empty if there are none.

    Accuracies: `accuracy_search` is what the search saw of the policy; `accuracy_validation` and
    `accuracy_test` are the trained network's.
    """
    finals = _measured_finals(run_dir).sort_values("cycles_median")
    searched = read_frame(run_dir).set_index("evaluation")["accuracy_quick"]
    return pd.DataFrame(
        {
            "policy": [str(Policy.of(policy)) for policy in finals["policy"]],
            "accuracy_search": searched.reindex(finals["evaluation"]).to_numpy(),
            "accuracy_validation": finals["accuracy_quick"].to_numpy(),
            "accuracy_test": finals["accuracy_full"].to_numpy(),
            "cycles": finals["cycles_median"].to_numpy(),
            "sram_peak_bytes": finals["sram_peak_bytes"].to_numpy(),
            "flash_total_bytes": finals["flash_total_bytes"].to_numpy(),
        }
    )


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


def write_report(
    run_dir: Path, baselines: Sequence[Path] = (), rivals: Sequence[Path] = ()
) -> list[Path]:
    """Writes the figures (PNG and SVG) and `summary.md` into the run; returns their paths.

    Raises:
        ConfigError: as `make_report`.
    """
    report = make_report(run_dir, baselines, rivals)
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


def _curves(run_dir: Path, info: RunInfo, rivals: Sequence[Path]) -> pd.DataFrame:
    """Rows of `hypervolume_frame` of a search and its rivals, the seeds of a method together."""
    problem = (info.model, info.data, info.board, reference_of(run_dir))
    for rival in rivals:
        other = read_run_info(rival)
        if (other.model, other.data, other.board, reference_of(rival)) != problem:
            raise ConfigError(
                f"{other.id} searched another problem than {info.id}: network, data, board and the "
                "reference point of the hypervolume must be the same to be compared."
            )
    curves = pd.concat(map(hypervolume_frame, (run_dir, *rivals)), ignore_index=True)
    return curves.sort_values("method", key=lambda names: names != info.method, kind="stable")


def _measured_finals(run_dir: Path) -> pd.DataFrame:
    rows = read_frame(run_dir / FINALS)
    return rows[rows["status"] == "ok"]


def _final_series(run_dir: Path, info: RunInfo) -> pd.DataFrame:
    """Final rows at their test accuracy, a series of their own; no rows if there are none."""
    rows = _measured_finals(run_dir)
    if rows.empty:
        return rows
    label = engine_named(rows["engine"].iloc[0]).label
    method = METHOD_LABELS.get(info.method, info.method)
    drawable = _drawable(rows).assign(accuracy=rows["accuracy_full"])
    return drawable.assign(series=f"{label}, {method}, trained in full (test set)")


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
    if not report.finals.empty:
        lines += [
            "",
            "Trained in full:",
            "",
            "| policy | as searched | validation | test | cycles | peak SRAM (bytes) "
            "| flash (bytes) |",
            "|---|---|---|---|---|---|---|",
        ]
    for row in report.finals.itertuples():
        lines.append(
            f"| {row.policy} | {100 * row.accuracy_search:.1f} % | "
            f"{100 * row.accuracy_validation:.1f} % | {100 * row.accuracy_test:.1f} % | "
            f"{row.cycles:,.0f} | {row.sram_peak_bytes:,.0f} | {row.flash_total_bytes:,.0f} |"
        )
    lines += [
        "",
        "![Hypervolume](figures/hypervolume.png)",
        "",
        "![Policies](figures/policies.png)",
    ]
    return "\n".join(lines) + "\n"
