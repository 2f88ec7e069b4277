"""`mcuq bench lower-level`: which quick training ranks policies as full training does."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, command_line, emit, stdout_is_stderr
from mcuq_lab.models import Dataset, find_dataset, find_network
from mcuq_lab.models.allocator import tune_allocator
from mcuq_lab.quantize import QatConfig
from mcuq_lab.results import RUNS_DIR, provenance, write_atomically
from mcuq_lab.rlquant import SearchConfig
from mcuq_lab.rlquant.lower_level_study import FULL, SCHEDULES, Schedule, Study, StudyConfig
from mcuq_lab.rlquant.lower_level_table import hopeless_nats, tabulate_study

GIVE_UP_BATCHES = 40
"""Schedules of so many batches are tried with giving up, too."""

COLUMNS = ("model", "schedule", "score", "score_images", "policies", "seconds", "spearman")
COLUMNS += ("spearman_error", "kendall", "top_overlap", "given_up")


@command
def lower_level(
    model: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    data: options.Data = options.DATA,
    policies: Annotated[int, typer.Option(help="Policies that are ranked.")] = 24,
    qat_epochs: Annotated[int, typer.Option(help="Passes of the full training.")] = 1,
    qat_images: Annotated[
        int, typer.Option(help="Images of the full training, for less than a pass; 0: all.")
    ] = 0,
    seed: options.Seed = 0,
    folder: Annotated[
        Path, typer.Option(help="Where the studies lie; what is finished is not done again.")
    ] = RUNS_DIR / "lower-level",
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Train nothing; the table of what is finished.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
    as_json: options.Json = False,
) -> None:
    """Seconds and rank correlation of each schedule of the search's lower level.

    Interrupt at will: the same command goes on.
    """
    with stdout_is_stderr():
        tune_allocator()
        dataset = find_dataset(data)
        qat = QatConfig(epochs=qat_epochs, images=qat_images, augment=False)
        config = StudyConfig(policies=policies, qat=qat, seed=seed)
        names = model or [options.MODEL]
        studies = [_study(name, dataset, config, folder, not table_only) for name in names]
        rows = [row for study in studies for row in study["rows"]]
        if output is not None:
            document = {"command": command_line(), **provenance(), "studies": studies}
            write_atomically(output, (json.dumps(document, indent=1) + "\n").encode())
    emit(rows, as_json, COLUMNS)


def _study(model: str, data: Dataset, config: StudyConfig, folder: Path, train: bool) -> dict:
    """Runs one study; again with what it says of giving up; its rows and what they rest on."""
    graph = find_network(model, data.name).graph
    place = folder / f"{graph.name}-{data.name}"
    study = Study(graph, data, config, place)
    float_top1 = study.float_scores()[-1].top1
    if train:
        _run(study, model)
        least_top1 = float_top1 - SearchConfig.reference_accuracy_drop
        giving_up = tuple(_giving_up(study, least_top1))
        config = replace(config, schedules=config.schedules + giving_up)
        study = Study(graph, data, config, place)
        _run(study, model)
    rows = tabulate_study(study.records, config.schedules, graph.name, data.name)
    full = [record for record in study.records if record.schedule == FULL]
    return {
        "model": graph.name,
        "data": data.name,
        "graph_digest": graph.digest,
        "float_top1": float_top1,
        "config": asdict(config),
        "policies": [
            {"policy": r.policy, "seconds": r.seconds, **_last_score(r.scores)} for r in full
        ],
        "rows": [asdict(row) for row in rows],
    }


def _giving_up(study: Study, least_top1: float) -> list[Schedule]:
    """Schedules that give up what never comes within the search's reference point."""
    found = []
    for schedule in SCHEDULES:
        if schedule.batches == GIVE_UP_BATCHES:
            nats = hopeless_nats(study.records, schedule, least_top1)
            if nats is not None:
                found.append(replace(schedule, hopeless_nats=math.ceil(nats * 100) / 100))
    return found


def _last_score(scores: tuple) -> dict:
    return {"top1": scores[-1].top1, "kl_nats": scores[-1].kl_nats} if scores else {}


def _run(study: Study, model: str) -> None:
    with tqdm(total=study.total, initial=study.done, desc=model, unit="training") as bar:

        def show(record) -> None:
            text = f"{record.schedule} {record.seconds:.0f} s"
            bar.set_postfix_str(text, refresh=False)
            bar.update()

        study.run(show)
