"""`mcuq tune`: measures a network's kernels on the board, so that the schedule knows."""

from __future__ import annotations

import time

from tqdm import tqdm

from mcuq_lab.bench import BoardSession, open_board
from mcuq_lab.board import load_board
from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, emit, new_app, say, stdout_is_stderr
from mcuq_lab.cli.prepare import PolicyText, prepare
from mcuq_lab.engines import engine_named
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.target import Target
from mcuq_lab.tuning import TuningTable, tune_on_board, tuning_table

ENGINE = "liteengine"

app = new_app()


@app.command()
@command
def tune(
    model: options.Model = options.MODEL,
    policy: PolicyText = "w4a4",
    board: options.BoardId = options.BOARD,
    data: options.Data = options.DATA,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    arena_bytes: options.ArenaBytes = None,
    flash_bytes: options.FlashBytes = None,
    as_json: options.Json = False,
) -> None:
    """Measures LiteEngine's kernels for a network on the board, and keeps what it learns.

    From then on measure, bench, search, profile and export choose kernels by these cycles on this
    board at this clock. Kernels measured before are not measured again; interrupt at any time.
    Layers that run in strips are measured so, too; budgets decide which ones do.
    """
    with stdout_is_stderr():
        described = load_board(board)
        network = prepare(model, data, policy).quantized
        with open_board(described, probe, simulated or None, clock) as session:
            say(f"{described.name}: {'simulated' if session.simulated else 'real'} board")
            target = Target.of(described, arena_bytes, flash_bytes)
            document = tune_network(network, session, tuning_table(session), target)
    document = {"model": model, "policy": str(network.policy), **document}
    if as_json:
        emit(document, True)
        return
    layers = document.pop("layers")
    emit([{"": key, "value": value} for key, value in document.items()], False)
    emit(layers, False)


def tune_network(
    network: QuantGraph, session: BoardSession, table: TuningTable, target: Target
) -> dict:
    """Tunes with a progress bar; what came of it, as `mcuq tune --json` prints it."""
    started_s = time.perf_counter()
    measured = runs = 0
    with tqdm(desc="tune", unit="kernel") as bar:
        for step in tune_on_board(network, session, table, target):
            bar.total = step.measured + step.left
            bar.update(step.measured - measured)
            measured, runs = step.measured, runs + 1
    sources = engine_named(ENGINE).generate(network, target, table.read())
    return {
        "board": session.board.id,
        "simulated": session.simulated,
        "measured": measured,
        "board_runs": runs,
        "seconds": time.perf_counter() - started_s,
        "schedule": sources.schedule,
        "table": str(table.directory),
        "layers": [
            {"name": layer.name, "kernel": layer.kernel, "packing": layer.packing}
            for layer in sources.layers
        ],
    }
