"""Inferences on the board: inputs to RAM, one request a portion, outputs and counts back."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import numpy as np
from pyocd.core.soc_target import SoCTarget

from mcuq_lab.bench.command import Run, send
from mcuq_lab.bench.core import run_call, run_until_halt
from mcuq_lab.bench.firmware import Firmware
from mcuq_lab.bench.mailbox import PAINTS, Command, Reply, Request
from mcuq_lab.errors import BoardError, NumericsError
from mcuq_lab.measurement import RunOutput

_COUNT_BYTES = 4


@dataclass(frozen=True, eq=False)
class _Portion:
    """What one request gave: outputs (n, output bytes), cycle counts, and the rest."""

    outputs: np.ndarray
    cycles: np.ndarray
    reply: Reply


def infer(
    target: SoCTarget, firmware: Firmware, inputs: np.ndarray, profile: bool, timeout_s: float
) -> tuple[RunOutput, int]:
    """Runs the network on all inputs and, to profile it, once more on the first, layer by layer.

    Args:
        target: halted at the reset vector of `firmware`.
        firmware: the image in flash.
        inputs: uint8 of shape (N >= 1, input bytes).
        profile: whether to profile.
        timeout_s: wall time after which one inference counts as hanging.

    Returns:
        What the firmware reported, and the cycles of timing nothing, which are subtracted.

    Raises:
        NumericsError: the second run on the first input gave another output.
        BoardError: as `send`; or the network wrote beyond its arena.
    """
    # The first inference alone, so that a network that hangs costs the time of one inference.
    portions = [_run(target, firmware, Command.RUN, inputs[:1], timeout_s)]
    room = max(_room(firmware), 1)
    for start in range(1, len(inputs), room):
        some = inputs[start : start + room]
        portions.append(_run(target, firmware, Command.RUN, some, timeout_s))
    layer_cycles: tuple[int, ...] = ()
    replies = [portion.reply for portion in portions]
    if profile:
        again = _run(target, firmware, Command.PROFILE, inputs[:1], timeout_s)
        if not np.array_equal(again.outputs, portions[0].outputs):
            raise NumericsError(
                "The board gave two outputs for one input: the network reads memory that it has "
                "not written. Run it on the host under the sanitizers."
            )
        layer_cycles = tuple(int(count) for count in again.cycles)
        replies.append(again.reply)
    output = RunOutput(
        outputs=np.concatenate([portion.outputs for portion in portions]),
        cycles=np.concatenate([portion.cycles for portion in portions]),
        layer_cycles=layer_cycles,
        arena_touched_bytes=max(reply.arena_touched_bytes for reply in replies),
        stack_bytes=max(reply.stack_bytes for reply in replies),
    )
    _check_arena(firmware, output.arena_touched_bytes)
    return output, replies[0].overhead_cycles


def infer_watched(
    target: SoCTarget,
    firmware: Firmware,
    inputs: np.ndarray,
    timeout_s: float,
    address: int,
    watch: AbstractContextManager,
) -> None:
    """Runs the network on one input, with `watch` open while the function at an address runs.

    Args:
        target: halted at the reset vector of `firmware`.
        firmware: the image in flash.
        inputs: uint8 of shape (1, input bytes).
        timeout_s: wall time after which the inference counts as hanging.
        address: of `mcuq_invoke`, or of an entry of `mcuq_layers`.
        watch: entered when the function is called first, left when it returns.

    Raises:
        BoardError: as `send`.
    """
    whole = address == firmware.address("mcuq_invoke") & ~1
    run = partial(run_call, address=address, watch=watch)
    _run(target, firmware, Command.RUN if whole else Command.PROFILE, inputs, timeout_s, run)


def _free_bytes(firmware: Firmware) -> int:
    return firmware.memory.ram.end - firmware.address("mcuq_free_start")


def _room(firmware: Firmware) -> int:
    """How many inferences fit free RAM at a time."""
    model = firmware.model
    return _free_bytes(firmware) // (model.input_bytes + model.output_bytes + _COUNT_BYTES)


def _run(
    target: SoCTarget,
    firmware: Firmware,
    command: Command,
    inputs: np.ndarray,
    timeout_s: float,
    run: Run = run_until_halt,
) -> _Portion:
    model = firmware.model
    counts = model.layer_count if command is Command.PROFILE else len(inputs)
    count_bytes = counts * _COUNT_BYTES
    output_bytes = len(inputs) * model.output_bytes
    cycles_at = firmware.address("mcuq_free_start")
    arena = firmware.address("mcuq_arena")
    if count_bytes + inputs.size + output_bytes <= _free_bytes(firmware):
        inputs_at = cycles_at + count_bytes
        outputs_at = inputs_at + inputs.size
        target.write_memory_block8(inputs_at, inputs.tobytes())
        request = Request(command, len(inputs), inputs_at, outputs_at, cycles_at)
    else:
        # RAM is nearly full: paint and input go to the arena itself, the output stays there. The
        # build has made sure that the counts fit.
        outputs_at = arena + model.output_offset
        image = bytearray([PAINTS[command is Command.PROFILE]])
        image *= firmware.address("mcuq_guard_end") - arena
        image[model.input_offset : model.input_offset + model.input_bytes] = inputs.tobytes()
        target.write_memory_block8(arena, bytes(image))
        request = Request(command, 1, 0, 0, cycles_at)
    reply = send(target, firmware, request, timeout_s * len(inputs), run)
    outputs = bytes(target.read_memory_block8(outputs_at, output_bytes))
    cycles = bytes(target.read_memory_block8(cycles_at, count_bytes))
    return _Portion(
        outputs=np.frombuffer(outputs, np.uint8).reshape(len(inputs), -1),
        cycles=np.frombuffer(cycles, "<u4").astype(np.int64),
        reply=reply,
    )


def _check_arena(firmware: Firmware, touched_bytes: int) -> None:
    planned_bytes = firmware.model.arena_bytes
    if touched_bytes > planned_bytes:
        raise BoardError(
            f"The network wrote {touched_bytes - planned_bytes} bytes or more beyond its arena of "
            f"{planned_bytes:,}. Run it on the host under the sanitizers to find the place.",
            status="fault",
        )
