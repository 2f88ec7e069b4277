"""`mcuq demo`: the main job in a few minutes, ending in the Pareto figure."""

from __future__ import annotations

from typing import Annotated

import typer

from mcuq_lab.baseline_run import BaselineConfig, measure_baseline
from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, new_app, say, stdout_is_stderr
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.report import write_report
from mcuq_lab.rlquant import new_run, quick_config, run_search

app = new_app()


@app.command()
@command
def demo(
    evaluations: Annotated[int, typer.Option(help="Policies measured on the board.")] = 20,
    model: options.Model = options.MODEL,
    data: options.Data = options.DATA,
    board: options.BoardId = options.BOARD,
    seed: options.Seed = 0,
) -> None:
    """A small RLQuant search on the simulated board, drawn against the baseline.

    Every policy is fine-tuned by SGD, generated as C, built, flashed over pyOCD, run and measured.
    """
    with stdout_is_stderr():
        dataset = find_dataset(data)
        say(f"{model} on {data} ({dataset.provenance}), simulated {board}")
        say(str(find_network(model, dataset.name).graph))
        say("1/3  the baseline: CMSIS-NN's algorithms at w8a8")
        baseline = measure_baseline(BaselineConfig(model, data, board))
        say(f"2/3  RLQuant: {evaluations} policies, each on the board")
        config = quick_config(
            model=model, data=data, board=board, seed=seed, evaluations=evaluations
        )
        run_dir = new_run(config, command="mcuq demo")
        run_search(run_dir)
        say("3/3  the figures")
        written = write_report(run_dir, [baseline])
    for path in written:
        typer.echo(path)
