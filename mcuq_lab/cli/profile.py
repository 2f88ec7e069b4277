"""`mcuq profile`: where the cycles of one network at one policy go, on the simulated board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, emit, new_app, stdout_is_stderr
from mcuq_lab.cli.prepare import PolicyText, prepare
from mcuq_lab.engines import ENGINE_NAMES, engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS, causes_figure, flame_figure
from mcuq_lab.profiling import NetworkProfile, profile_network
from mcuq_lab.target import Target

SHOWN_ROWS = 15

app = new_app()


@app.command()
@command
def profile(
    model: options.Model = options.MODEL,
    policy: PolicyText = "w4a4",
    engine: Annotated[str, typer.Option(help=f"One of {', '.join(ENGINE_NAMES)}.")] = "liteengine",
    board: options.BoardId = options.BOARD,
    layer: Annotated[
        str | None, typer.Option(help="Profile this layer only, not the whole inference.")
    ] = None,
    data: options.Data = options.DATA,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    arena_bytes: options.ArenaBytes = None,
    flash_bytes: options.FlashBytes = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw functions and blocks to this file (.svg, .pdf, .png), and functions by "
            "cause to another beside it, whose name ends in -causes."
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Runs one inference on the simulated board; prints cycles by function, block and cause."""
    with stdout_is_stderr():
        chosen = engine_named(engine)
        described = load_board(board)
        prepared = prepare(model, data, policy)
        if not chosen.supports(str(prepared.quantized.policy)):
            raise ConfigError(
                f"{chosen.label} runs {', '.join(chosen.policies)}, not "
                f"'{prepared.quantized.policy}'; choose one of these with --policy."
            )
        inputs = prepared.inputs(prepared.dataset.test_images[:1])
        with open_board(described, probe, simulated or None, clock) as session:
            target = Target.of(described, arena_bytes, flash_bytes)
            found = profile_network(prepared.quantized, chosen, session, inputs, layer, target)
        if figure is not None:
            draw(found, figure)
    document = {
        "model": prepared.quantized.name,
        "policy": str(prepared.quantized.policy),
        "engine": engine,
        "layer": layer,
        **describe(found),
    }
    if as_json:
        emit(document, True)
        return
    for name in ("functions", "calls", "blocks"):
        rows = sorted(document.pop(name), key=lambda row: -row.get("cycles", 0))[:SHOWN_ROWS]
        if rows:
            emit(_for_people(rows), False)
            typer.echo()
    emit([{"": key, "value": value} for key, value in document.items()], False)


def describe(found: NetworkProfile) -> dict:
    """A profile as plain values, as `mcuq profile --json` prints it."""
    bench, profile = found.bench, found.profile
    return {
        "board": bench.board,
        "simulated": bench.simulated,
        "cycles": profile.cycles,
        "sysclk_hz": bench.sysclk_hz,
        "flash_wait_states": bench.flash_wait_states,
        "compiler": bench.compiler,
        "flags": bench.flags,
        "timing_model": bench.timing_model,
        "functions": _rows(profile.functions()),
        "calls": _rows(profile.calls()),
        "blocks": _rows(profile.blocks()),
    }


def draw(found: NetworkProfile, path: Path) -> None:
    """Both figures of a profile; the second has `-causes` in its name.

    Raises:
        ConfigError: matplotlib writes no such files, or not there.
    """
    profile = found.profile
    flame = flame_figure(profile.call_tree(), profile.blocks(), title=profile.title)
    causes = causes_figure(profile.functions(), title=profile.title)
    try:
        flame.savefig(path)
        causes.savefig(path.with_stem(f"{path.stem}-causes"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {error}.") from error


def _rows(table: pd.DataFrame) -> list[dict]:
    return table.astype(object).to_dict("records")


def _for_people(rows: list[dict]) -> list[dict]:
    """What fits a screen: no causes that none of the rows has, addresses as one reads them."""
    left_out = {name for name in CAUSE_COLUMNS if not any(row.get(name) for row in rows)}
    left_out |= {"size_bytes", "instructions", "cycles_per_execution"}
    return [
        {
            name.removesuffix("_cycles"): f"{value:#010x}" if name == "address" else value
            for name, value in row.items()
            if name not in left_out
        }
        for row in rows
    ]
