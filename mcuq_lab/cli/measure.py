"""`mcuq measure`: one network at one policy, on the board."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.cli import options
from mcuq_lab.cli.output import command, emit, new_app, say, stdout_is_stderr
from mcuq_lab.cli.prepare import PolicyText, prepare
from mcuq_lab.engines import ENGINE_NAMES, engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.measurement import Measurement
from mcuq_lab.pipeline import measure_network

BOARD_INPUTS = 3
LAYER_COLUMNS = (
    *("name", "policy", "packing", "macs", "cycles", "macs_per_cycle", "limit_share"),
    *("weights_bytes", "code_share_bytes", "scratch_bytes"),
)

app = new_app()


@app.command()
@command
def measure(
    model: options.Model = options.MODEL,
    policy: PolicyText = "w4a4",
    engine: Annotated[str, typer.Option(help=f"One of {', '.join(ENGINE_NAMES)}.")] = "liteengine",
    board: options.BoardId = options.BOARD,
    data: options.Data = options.DATA,
    n_images: Annotated[
        int, typer.Option(min=0, help="Test images that score the accuracy; 0: none does.")
    ] = 1000,
    probe: options.Probe = None,
    simulated: options.Simulated = False,
    clock: options.ClockName = "reset",
    arena_bytes: options.ArenaBytes = None,
    flash_bytes: options.FlashBytes = None,
    as_json: options.Json = False,
) -> None:
    """Quantizes a network, generates, builds, flashes and runs it; prints cycles, bytes, accuracy.

    `origin` says whether the network was trained at this policy, or is the float network quantized
    without any SGD.
    """
    with stdout_is_stderr():
        chosen = engine_named(engine)
        described = load_board(board)
        prepared = prepare(model, data, policy)
        if not chosen.supports(str(prepared.quantized.policy)):
            raise ConfigError(
                f"{chosen.label} runs {', '.join(chosen.policies)}, not "
                f"'{prepared.quantized.policy}'; choose one of these with --policy."
            )
        dataset = prepared.dataset
        with open_board(described, probe, simulated or None, clock) as session:
            say(f"{described.name}: {'simulated' if session.simulated else 'real'} board")
            measurement = measure_network(
                prepared.quantized,
                chosen,
                session,
                prepared.inputs(dataset.test_images[:BOARD_INPUTS]),
                data=dataset.name,
                arena_bytes=arena_bytes,
                flash_bytes=flash_bytes,
            )
        accuracy, n_scored = None, 0
        if n_images and prepared.network.test_accuracy is not None:
            images = dataset.test_images[:n_images]
            labels = dataset.test_labels[:n_images]
            accuracy = chosen.accuracy(prepared.quantized, prepared.inputs(images), labels)
            n_scored = len(images)
    document = describe(measurement) | {
        "origin": str(prepared.origin),
        "accuracy": accuracy,
        "n_images": n_scored,
        "note": "; ".join(filter(None, (measurement.note, prepared.network.note))),
    }
    if as_json:
        emit(document, True)
        return
    layers = document.pop("layers")
    document["seconds"] = ", ".join(f"{k} {v:.2f}" for k, v in document["seconds"].items())
    emit([{"": key, "value": value} for key, value in document.items()], False)
    emit(layers, False, LAYER_COLUMNS)


def describe(measurement: Measurement) -> dict:
    """A measurement as plain values, as `mcuq measure --json` prints it."""
    bench, sizes, run = measurement.bench, measurement.sizes, measurement.run
    return {
        "model": measurement.model,
        "data": measurement.data,
        "policy": measurement.policy,
        "engine": measurement.engine,
        "schedule": measurement.schedule,
        "board": bench.board,
        "simulated": bench.simulated,
        "probe_uid": bench.probe_uid,
        "cycles_min": int(run.cycles.min()),
        "cycles_median": measurement.cycles,
        "cycles_max": int(run.cycles.max()),
        "latency_ms": 1e3 * measurement.latency_s,
        "sysclk_hz": bench.sysclk_hz,
        "flash_wait_states": bench.flash_wait_states,
        "sram_static_bytes": sizes.sram_static_bytes,
        "sram_arena_bytes": sizes.sram_arena_bytes,
        "sram_arena_touched_bytes": run.arena_touched_bytes,
        "sram_scratch_bytes": measurement.scratch_bytes,
        "sram_stack_bytes": run.stack_bytes,
        "sram_peak_bytes": measurement.sram_peak_bytes,
        "flash_code_bytes": sizes.flash_code_bytes,
        "flash_weights_bytes": sizes.flash_weights_bytes,
        "flash_total_bytes": sizes.flash_total_bytes,
        "bit_exact": measurement.bit_exact,
        "layers": [asdict(layer) for layer in measurement.profile],
        "seconds": dict(measurement.seconds),
        "compiler": bench.compiler,
        "flags": bench.flags,
        "timing_model": bench.timing_model,
    }
