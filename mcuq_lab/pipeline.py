"""The straight line: a float network and a policy go in, a measurement comes back from a board.

Graph -> QuantGraph -> Sources -> Firmware -> RunOutput -> Measurement
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from mcuq_lab.bench import BoardSession, BuildFlags, Toolchain, open_board
from mcuq_lab.board import Board
from mcuq_lab.engines import Engine
from mcuq_lab.flash_fit import built_within
from mcuq_lab.graph import Graph
from mcuq_lab.measurement import Measurement
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import calibrate, quantize, quantize_input
from mcuq_lab.sources import Sources
from mcuq_lab.storage import pack_batch, unpack_batch
from mcuq_lab.target import Target
from mcuq_lab.tuning import tuning_table

SIGN_BIT = 0x80


def measure(
    graph: Graph, policy: Policy, engine: Engine, board: Board, images: np.ndarray
) -> Measurement:
    """The whole line at once, on post-training quantization.

    Args:
        graph: the float network.
        policy: widths of each of its layers.
        engine: what generates the C.
        board: where it runs; a real one if its probe is there, else the simulated one.
        images: uint8 NHWC; all (some hundred do) calibrate, the first two run on the board.

    Raises:
        McuqError: the stage that fails says why.
    """
    network = quantize(graph, policy, calibrate(graph, images))
    inputs = quantize_input(images[:2], network.input, graph.input.low, graph.input.high)
    with open_board(board) as session:
        return measure_network(network, engine, session, inputs)


def measure_network(
    network: QuantGraph,
    engine: Engine,
    session: BoardSession,
    inputs: np.ndarray,
    *,
    data: str = "",
    toolchain: Toolchain | None = None,
    flags: BuildFlags | None = None,
    arena_bytes: int | None = None,
    flash_bytes: int | None = None,
) -> Measurement:
    """Generates, builds, flashes and runs a quantized network on an open board.

    Kernels are chosen by the cycles that `mcuq tune` has measured there, if it has.

    Args:
        network: the integer network.
        engine: what generates the C.
        session: an open board.
        inputs: quantized inputs, uint8 (N, h, w, c); each is run once, and must give the integers
            of the engine's reference for the measurement to be `bit_exact`.
        data: name of the data set, for the record.
        toolchain, flags: default: those of `mcuq_lab.bench`.
        arena_bytes: budget, see `Target`; only LiteEngine can keep one.
        flash_bytes: budget of the image, start-up code and harness included; LiteEngine shares
            kernels to keep it.

    Raises:
        McuqError: the stage that fails says why.
    """
    seconds: dict[str, float] = {}
    table = tuning_table(session, toolchain, flags).read()
    target = Target.of(session.board, arena_bytes, flash_bytes)
    built = built_within(network, engine, session.board, target, table, toolchain, flags)
    sources, firmware = built.sources, built.firmware
    seconds |= built.seconds
    run = session.run(firmware, stored_inputs(inputs, network, sources))
    seconds |= {"flash": session.last.flash_s, "run": session.last.run_s}
    with _timed(seconds, "reference"):
        expected = engine.reference(network, inputs)
    outputs = unpack_batch(run.outputs ^ _sign(sources), network.output)
    return Measurement(
        model=network.name,
        data=data,
        policy=str(network.policy),
        engine=engine.name,
        bench=session.bench(firmware),
        layers=sources.layers,
        sizes=firmware.sizes,
        run=run,
        scratch_bytes=sources.scratch_bytes,
        bit_exact=bool(np.array_equal(outputs, expected)),
        elf_sha256=firmware.elf_sha256,
        seconds=seconds,
        note=sources.note,
        schedule=sources.schedule,
    )


def stored_inputs(inputs: np.ndarray, network: QuantGraph, sources: Sources) -> np.ndarray:
    """Inputs as they lie in the board's memory, uint8 (N, input bytes)."""
    return pack_batch(inputs, network.input) ^ _sign(sources)


def _sign(sources: Sources) -> np.uint8:
    """What turns the graph's u8 into the engine's own int8, and back."""
    return np.uint8(SIGN_BIT if sources.signed_io else 0)


@contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[phase] = time.perf_counter() - started
