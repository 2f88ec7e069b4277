"""`mcuq bench ...`: the tables that the project quotes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from mcuq_lab.bench import BoardSession, BuildFlags, find_toolchain, open_board
from mcuq_lab.benchmark import LAYERS, POLICIES, bench_layers
from mcuq_lab.board import load_board
from mcuq_lab.cli import options
from mcuq_lab.cli.bench_lower_level import lower_level
from mcuq_lab.cli.bench_search import search
from mcuq_lab.cli.output import command, command_line, emit, new_app, stdout_is_stderr
from mcuq_lab.comparison import BASELINES, with_ratios
from mcuq_lab.engines import ENGINES, engine_named
from mcuq_lab.layer_sweep import MAX_MACS, random_layers, sweep
from mcuq_lab.model_benchmark import MODELS, N_IMAGES, bench_models
from mcuq_lab.model_benchmark import POLICIES as MODEL_POLICIES
from mcuq_lab.packing_benchmark import ROUNDS, bench_packings, timing_text
from mcuq_lab.results import provenance, write_atomically
from mcuq_lab.simulator_benchmark import bench_simulator

RATIOS = tuple(f"ratio_{name}" for name in BASELINES)

app = new_app(no_args_is_help=True, help="Benchmarks: single layers, whole models, searches.")

app.command()(search)
app.command()(lower_level)

Engines = Annotated[list[str] | None, typer.Option("--engine", help="May be given several times.")]
Policies = Annotated[list[str] | None, typer.Option("--policy", help="May be given several times.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", help="Also write the rows, with their provenance, to this JSON file."),
]


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
    output: Output = None,
    as_json: options.Json = False,
) -> None:
    """Cycles, bytes and exactness of single layers, engine beside engine."""
    with stdout_is_stderr():
        engines = [engine_named(name) for name in engine or ENGINES]
        names, policies = tuple(layer or LAYERS), tuple(policy or POLICIES)
        with open_board(load_board(board), probe, simulated or None, clock) as session:
            rows = bench_layers(session, names, policies, engines, seed)
            measured = [asdict(row) for row in tqdm(rows, desc="layers", unit="layer")]
            found = with_ratios(measured, "layer")
            _write(output, found, session)
    columns = ("layer", "policy", "engine", "cycles", "macs_per_cycle", "limit_share")
    emit(found, as_json, (*columns, *RATIOS, "flash_bytes", "sram_bytes", "packing", "bit_exact"))


@app.command()
@command
def models(
    model: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    engine: Engines = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(help="May be given several times; `mixed`: those of stored mixed nets."),
    ] = None,
    board: options.BoardId = options.BOARD,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    data: options.Data = options.DATA,
    arena_bytes: options.ArenaBytes = None,
    flash_bytes: options.FlashBytes = None,
    n_images: Annotated[
        int, typer.Option(help="Test images that score the accuracy; 0: none.")
    ] = N_IMAGES,
    output: Output = None,
    as_json: options.Json = False,
) -> None:
    """Cycles, SRAM, flash and accuracy of whole networks, engine beside engine."""
    with stdout_is_stderr():
        engines = [engine_named(name) for name in engine or ENGINES]
        names, policies = tuple(model or MODELS), tuple(policy or MODEL_POLICIES)
        with open_board(load_board(board), probe, simulated or None, clock) as session:
            rows = bench_models(
                session, names, policies, engines, data, n_images, arena_bytes, flash_bytes
            )
            measured = [asdict(row) for row in tqdm(rows, desc="models", unit="model")]
            found = with_ratios(measured, "model")
            _write(output, found, session)
    columns = ("model", "policy", "engine", "cycles", "macs_per_cycle", *RATIOS)
    columns += ("sram_peak_bytes", "flash_total_bytes", "accuracy", "float_accuracy", "origin")
    emit(found, as_json, (*columns, "bit_exact"))


@app.command()
@command
def random(
    count: Annotated[int, typer.Option(help="Random layers.")] = 300,
    policy: Policies = None,
    max_macs: Annotated[int, typer.Option(help="Larger layers are drawn again.")] = MAX_MACS,
    board: options.BoardId = options.BOARD,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    seed: options.Seed = 0,
    rows: Annotated[
        Path | None,
        typer.Option(help="File of rows, one JSON object a line; a sweep goes on where it ends."),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Cycles of random layers beside CMSIS-NN's; a ratio below 1 is a layer to be mended."""
    with stdout_is_stderr():
        policies = tuple(policy or POLICIES)
        names = random_layers(count, seed, max_macs)
        known = _rows_of(rows)
        done = {(row["layer"], row["policy"]) for row in known}
        with (
            open_board(load_board(board), probe, simulated or None, clock) as session,
            tqdm(total=len(names) * len(policies), initial=len(done), unit="row") as bar,
        ):
            for row in sweep(session, names, policies, done, seed):
                known.append(asdict(row))
                if rows is not None:
                    with rows.open("a") as file:
                        file.write(json.dumps(known[-1]) + "\n")
                bar.update()
    columns = ("layer", "policy", "macs", "cycles", "cycles_cmsis_nn", "ratio_cmsis_nn", "kernel")
    emit(known if as_json else [r for r in known if r["ratio_cmsis_nn"] < 1], as_json, columns)


def _rows_of(path: Path | None) -> list[dict]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


@app.command()
@command
def packings(output: Output = None, as_json: options.Json = False) -> None:
    """MAC/cycle of the register tiles of all families of operand packing, those that lost too."""
    with stdout_is_stderr():
        rows = [asdict(row) for row in bench_packings()]
        if output is not None:
            document = {"compiler": find_toolchain().name, "timing_model": timing_text()}
            _write_document(output, {**document, "rounds": ROUNDS, "rows": rows})
    emit(rows, as_json, ("operator", "w_bits", "a_bits", "name", "macs_per_cycle"))


@app.command()
@command
def simulator(output: Output = None, as_json: options.Json = False) -> None:
    """Speed of the simulated boards, and their cycles beside published counts.

    The speeds by name are those of LiteEngine's convolution; `speeds` has the baseline's too, whose
    short blocks and weights read from flash are the hardest case.
    """
    with stdout_is_stderr():
        found = bench_simulator()
        m4, flash, m7 = (
            found.slowest("liteengine", "nucleo_f412zg"),
            found.slowest("liteengine", "nucleo_f412zg", "max"),
            found.slowest("liteengine", "nucleo_f767zi"),
        )
        document = {
            "m4_mips": m4.mips,
            "m7_mips": m7.mips,
            "m4_flash_mips": flash.mips,
            "untimed_mips": m4.untimed_mips,
            "session_open_s": found.session_open_s,
            "flash_200kb_s": found.flash_200kb_s,
            "speeds": [asdict(row) for row in found.speeds],
            "rules": [asdict(row) for row in found.rules],
            "programs": [asdict(row) for row in found.programs],
        }
        if output is not None:
            _write_document(output, document)
    if as_json:
        emit(document, as_json)
        return
    emit(document["speeds"], False, ("board", "clock", "engine", "policy", "mips", "untimed_mips"))
    columns = ("program", "core", "board", "published_cycles", "modelled_cycles", "source")
    emit(document["programs"], False, columns)
    columns = ("core", "rule", "asm", "expected_cycles", "modelled_cycles")
    emit(document["rules"], False, columns)


def _write(path: Path | None, rows: list[dict], session: BoardSession) -> None:
    """Rows with what a reader needs to judge and to repeat them."""
    if path is None:
        return
    document = {
        "compiler": find_toolchain().name,
        "flags": BuildFlags().text(session.board),
        "sysclk_hz": session.clock.sysclk_hz,
        "flash_wait_states": session.clock.flash_wait_states,
        "timing_model": session.timing_model,
        "rows": rows,
    }
    _write_document(path, document)


def _write_document(path: Path, document: dict) -> None:
    document = {"command": command_line(), **provenance(), **document}
    write_atomically(path, (json.dumps(document, indent=1) + "\n").encode())
