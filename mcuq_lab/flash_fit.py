"""Images that keep a budget of flash: what the engine estimates, checked against what is linked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from mcuq_lab.bench import BuildFlags, Firmware, Toolchain, build
from mcuq_lab.board import Board
from mcuq_lab.engines import Engine
from mcuq_lab.errors import FitError
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.sources import Sources
from mcuq_lab.target import Target

HARNESS_BYTES = 1200
"""About what start-up code and harness take of an image; the engine has the rest of its budget."""

_NOTHING = 1
"""A budget that nothing keeps: the refusal says how much is missing."""
_TRIES = 8
_SHOWN = 3
_MORE_BYTES = 32  # a try asks for so many fewer than the one before, besides what was missing


@dataclass(frozen=True, eq=False)
class Built:
    """A network's sources and image.

    Attributes:
        sources: what was built.
        firmware: the image.
        seconds: wall time of `generate` and `build`.
    """

    sources: Sources
    firmware: Firmware
    seconds: Mapping[str, float]


def engine_share(target: Target) -> Target:
    """`target`, whose flash is a budget of the whole image, with what the engine has of it."""
    if target.flash_bytes is None:
        return target
    return replace(target, flash_bytes=target.flash_bytes - HARNESS_BYTES)


def built_within(
    network: QuantGraph,
    engine: Engine,
    board: Board,
    target: Target,
    measured_cycles: Mapping[str, int] | None = None,
    toolchain: Toolchain | None = None,
    flags: BuildFlags | None = None,
) -> Built:
    """Generates and builds a network whose image takes at most `target.flash_bytes`, if any.

    An engine chooses its kernels by estimates of their code. An image that is too large by some
    bytes is generated once more for as many bytes less.

    Args:
        network: the integer network.
        engine: what generates the C.
        board: that it is built for.
        target: the board's core with budgets; that of flash is the whole image's here, start-up
            code and harness included.
        measured_cycles: see `engines.Generate`.
        toolchain, flags: default: those of `mcuq_lab.bench`.

    Raises:
        FitError: no image keeps the budget; says how many bytes are missing.
        McuqError: the stage that fails says why.
    """
    budget, asked = target.flash_bytes, engine_share(target)
    missing, generate_s, build_s = 0, 0.0, 0.0
    for number in range(_TRIES):
        started = time.perf_counter()
        try:
            sources = engine.generate(network, asked, measured_cycles)
        except FitError as error:
            if budget is None or error.memory != "flash":
                raise
            # What was missing of the image, or is of what the engine was asked for.
            missing = missing or error.overflow_bytes
            break
        generated = time.perf_counter()
        firmware = build(sources, board, toolchain, flags)
        generate_s += generated - started
        build_s += time.perf_counter() - generated
        if budget is None or firmware.sizes.flash_total_bytes <= budget:
            return Built(sources, firmware, {"generate": generate_s, "build": build_s})
        missing = firmware.sizes.flash_total_bytes - budget
        asked = replace(asked, flash_bytes=asked.flash_bytes - missing - _MORE_BYTES * number)
    layers = sorted(network.layers, key=lambda op: -op.weight.size * op.w_bits)[:_SHOWN]
    most = ", ".join(f"{op.name} {op.weight.size * op.w_bits // 8:,}" for op in layers)
    raise FitError(
        f"The image of '{network.name}' ({network.policy}, {engine.name}) takes "
        f"{budget + missing:,} bytes of flash, {missing:,} more than the budget of {budget:,}, "
        f"about {HARNESS_BYTES:,} of them start-up code and harness; most weights: {most}. Lower "
        "weight bits there, or allow more flash.",
        memory="flash",
        overflow_bytes=missing,
    )


def least_flash_bytes(
    network: QuantGraph,
    engine: Engine,
    target: Target,
    measured_cycles: Mapping[str, int] | None = None,
) -> int | None:
    """Flash of the smallest image that the engine can make of a network, by its estimate.

    None from an engine that has one way to do things, and so keeps no budget.
    """
    try:
        engine.generate(network, replace(target, flash_bytes=_NOTHING), measured_cycles)
    except FitError as error:
        if error.memory == "flash":
            return _NOTHING + error.overflow_bytes + HARNESS_BYTES
    return None
