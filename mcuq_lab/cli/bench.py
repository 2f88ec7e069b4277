"""`mcuq bench ...`: the tables that the project quotes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from tqdm import tqdm

from mcuq_lab.bench import open_board
from mcuq_lab.benchmark import LAYERS, MODELS, POLICIES, bench_layers, bench_models
from mcuq_lab.board import load_board
from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, emit, new_app, stdout_is_stderr
from mcuq_lab.engines import ENGINES, engine_named

app = new_app(no_args_is_help=True, help="Benchmarks: single layers, whole models.")

Engines = Annotated[list[str] | None, typer.Option("--engine", help="May be given several times.")]
Policies = Annotated[list[str] | None, typer.Option("--policy", help="May be given several times.")]


@app.command()
@command
def layers(
    layer: Annotated[
        list[str] | None, typer.Option(help="For example c3_20x24_40; several times for several.")
    ] = None,
    engine: Engines = None,
    policy: Policies = None,
    board: options.BoardId = options.BOARD,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Cycles, bytes and exactness of single layers, engine beside engine."""
    with stdout_is_stderr():
        engines = [engine_named(name) for name in engine or ENGINES]
        names, policies = tuple(layer or LAYERS), tuple(policy or POLICIES)
        with open_board(load_board(board), probe, simulated or None, clock) as session:
            rows = bench_layers(session, names, policies, engines, seed)
            found = [asdict(row) for row in tqdm(rows, desc="layers", unit="layer")]
    columns = ("layer", "policy", "engine", "cycles", "macs_per_cycle", "kernel", "packing")
    emit(found, as_json, (*columns, "bit_exact"))


@app.command()
@command
def models(
    model: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    engine: Engines = None,
    policy: Policies = None,
    board: options.BoardId = options.BOARD,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    data: options.Data = options.DATA,
    as_json: options.Json = False,
) -> None:
    """Cycles, SRAM and flash of whole networks, engine beside engine."""
    with stdout_is_stderr():
        engines = [engine_named(name) for name in engine or ENGINES]
        names, policies = tuple(model or MODELS), tuple(policy or ("w8a8", "w4a4", "w2a2"))
        with open_board(load_board(board), probe, simulated or None, clock) as session:
            rows = bench_models(session, names, policies, engines, data)
            found = [asdict(row) for row in tqdm(rows, desc="models", unit="model")]
    columns = ("model", "policy", "engine", "cycles", "sram_peak_bytes", "flash_total_bytes")
    emit(found, as_json, (*columns, "bit_exact"))
