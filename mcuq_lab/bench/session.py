"""A board at work: images go in; outputs, cycles and memory use come back."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pyocd.core.session import Session
from pyocd.core.soc_target import SoCTarget

from mcuq_lab.bench.command import send
from mcuq_lab.bench.core import reset_and_halt
from mcuq_lab.bench.firmware import Firmware
from mcuq_lab.bench.flash import NOTHING_FLASHED, FlashReport, add_to_erase_count, program
from mcuq_lab.bench.inference import infer, infer_watched
from mcuq_lab.bench.mailbox import Command, Request, image_checksum
from mcuq_lab.bench.probe import choose_uid, find_probes, is_simulated, open_session, probe_errors
from mcuq_lab.board import Board, Clock
from mcuq_lab.errors import BoardError, NumericsError
from mcuq_lab.measurement import Bench, RunOutput

_LOG = logging.getLogger(__name__)

# A checksum takes some ten cycles a word; the slowest reset clock is 4 MHz.
_CHECK_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class RunReport:
    """What the last `run` of a session did besides its output.

    Attributes:
        flash: what was written.
        flash_s: wall time of flashing, the check of the flash's contents included.
        run_s: wall time of reset, clock, transfers and inferences.
        overhead_cycles: of timing nothing; subtracted from all cycle counts.
    """

    flash: FlashReport
    flash_s: float
    run_s: float
    overhead_cycles: int


@contextlib.contextmanager
def open_board(
    board: Board,
    probe_uid: str | None = None,
    simulated: bool | None = None,
    clock: str = "reset",
) -> Iterator[BoardSession]:
    """Opens a board for as many runs as wanted.

    Args:
        board: which kind of board.
        probe_uid: unique id of the probe, or a part of it that only one has; a further simulated
            board by a suffix (`sim:nucleo-f412zg:1`).
        simulated: True: the simulated board; False: a real one; None: a real one if one is
            plugged in, else the simulated one (`session.simulated` and the log say which).
        clock: one of the board's clock options.

    Raises:
        ConfigError: the board has no such clock, or the arguments contradict each other.
        BoardError: no such probe, more than one, in use, or the board does not answer.
    """
    clock_option = board.clock(clock)
    # A search over USB takes a while: only when a real probe may be wanted.
    wants_usb = not simulated and not (probe_uid is not None and is_simulated(probe_uid))
    uid = choose_uid(board, probe_uid, simulated, find_probes() if wants_usb else ())
    _LOG.info("%s: %s probe %s", board.id, "simulated" if is_simulated(uid) else "real", uid)
    with open_session(board, uid) as session:
        yield BoardSession(board, clock_option, uid, session)


class BoardSession:
    """One open board; made by `open_board`. Not to be shared between threads.

    Attributes:
        board, clock: what was asked for.
        probe_uid: unique id of the probe that answers.
        last: what the last `run` did besides its output; None before the first.
    """

    def __init__(self, board: Board, clock: Clock, probe_uid: str, session: Session) -> None:
        self.board = board
        self.clock = clock
        self.probe_uid = probe_uid
        self.last: RunReport | None = None
        self._session = session
        self._flashed_sha256 = ""

    @property
    def simulated(self) -> bool:
        """Whether the simulated board answers."""
        return is_simulated(self.probe_uid)

    @property
    def timing_model(self) -> str:
        """Name, version and stated uncertainty of a simulated board's timing model, else ""."""
        # A capability of the probe; real ones, which measure time, lack it.
        model = getattr(self._session.probe, "timing_model", None)
        return "" if model is None else f"{model.name} {model.version}: {model.uncertainty}"

    def bench(self, firmware: Firmware) -> Bench:
        """Where and how a measurement of `firmware` in this session is made."""
        return Bench(
            board=self.board.id,
            simulated=self.simulated,
            probe_uid=self.probe_uid,
            sysclk_hz=self.clock.sysclk_hz,
            flash_wait_states=self.clock.flash_wait_states,
            compiler=firmware.toolchain.name,
            flags=firmware.flags,
            timing_model=self.timing_model,
        )

    def flash(self, firmware: Firmware) -> FlashReport:
        """Writes what differs, then lets the firmware check all of it.

        Does nothing when this session's last image was the same.

        Raises:
            BoardError: the image is for another board, the probe fails, or the flash does not hold
                what was written.
        """
        if firmware.board.pyocd_target != self.board.pyocd_target:
            raise BoardError(
                f"The image is for a {firmware.board.name}, the board is a {self.board.name}. "
                f"Build for '{self.board.id}'."
            )
        if firmware.elf_sha256 == self._flashed_sha256:
            return NOTHING_FLASHED
        self._flashed_sha256 = ""
        with probe_errors(f"flash the {self.board.name}"):
            # From reset, so that no clock set-up of the run before meets the flash algorithm.
            reset_and_halt(self._target, self.board.clock("reset"))
            report = program(self._session, firmware.image.segments)
            if not self.simulated:
                add_to_erase_count(self.probe_uid, report.sectors_erased)
            _check_flash(self._target, self.clock, firmware)
        self._flashed_sha256 = firmware.elf_sha256
        return report

    def run(
        self,
        firmware: Firmware,
        inputs: np.ndarray,
        *,
        profile: bool = True,
        inference_timeout_s: float = 30.0,
    ) -> RunOutput:
        """Flashes if needed, runs the network on all inputs, and profiles its layers.

        A cycle count covers one call of `mcuq_invoke` whose input and output lie in their arena
        slots, less the cost of timing nothing. `last` tells seconds and erase cycles.

        Args:
            firmware: built for this board.
            inputs: uint8 of shape (N >= 1, input bytes), as stored in memory.
            profile: run the first input once more, layer by layer, with other paint. Without that,
                `layer_cycles` is empty, and with a single input a byte that happens to be written
                with the paint's value does not count as touched.
            inference_timeout_s: wall time after which an inference counts as hanging.

        Raises:
            NumericsError: inputs of another size; or a second run on the same input gave another
                output.
            BoardError: status `timeout` (with the place where it hung), `fault` (with cause,
                function and line; or a write beyond the arena), or `probe_error`.
        """
        _check_inputs(inputs, firmware.model.input_bytes)
        started = time.perf_counter()
        flash = self.flash(firmware)
        flashed = time.perf_counter()
        with probe_errors(f"run on the {self.board.name}"):
            reset_and_halt(self._target, self.clock)
            output, overhead = infer(self._target, firmware, inputs, profile, inference_timeout_s)
        self.last = RunReport(flash, flashed - started, time.perf_counter() - flashed, overhead)
        return output

    def watch(
        self,
        firmware: Firmware,
        inputs: np.ndarray,
        address: int,
        watch: contextlib.AbstractContextManager,
        *,
        inference_timeout_s: float = 30.0,
    ) -> None:
        """Flashes if needed and runs the network once, with `watch` open while a function runs.

        Args:
            firmware: built for this board.
            inputs: uint8 of shape (1, input bytes).
            address: of the function: `mcuq_invoke`, or an entry of `mcuq_layers`.
            watch: such as a profiler; open from the call to the return.
            inference_timeout_s: as for `run`.

        Raises:
            NumericsError, BoardError: as `run`.
        """
        _check_inputs(inputs, firmware.model.input_bytes)
        self.flash(firmware)
        with probe_errors(f"run on the {self.board.name}"):
            reset_and_halt(self._target, self.clock)
            infer_watched(self._target, firmware, inputs[:1], inference_timeout_s, address, watch)

    @property
    def _target(self) -> SoCTarget:
        return self._session.target


def _check_inputs(inputs: np.ndarray, input_bytes: int) -> None:
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or not len(inputs):
        raise NumericsError(
            f"A board takes uint8 inputs of shape (N >= 1, input bytes), "
            f"not {inputs.dtype} of shape {inputs.shape}."
        )
    if inputs.shape[1] != input_bytes:
        raise NumericsError(
            f"One input has {inputs.shape[1]} bytes, the network takes {input_bytes}."
        )


def _check_flash(target: SoCTarget, clock: Clock, firmware: Firmware) -> None:
    """Lets the core sum up its flash; on a difference, finds the first wrong byte."""
    reset_and_halt(target, clock)
    try:
        reply = send(target, firmware, Request(Command.CHECK), _CHECK_TIMEOUT_S)
        if reply.checksum == image_checksum(firmware.image):
            return
        failure = BoardError("The core reads other bytes from flash than the probe does.")
    except BoardError as error:
        # Code that was written wrongly may do anything; what is in flash says more than that.
        failure = error
    for segment in firmware.image.segments:
        held = bytes(target.read_memory_block8(segment.address, len(segment.data)))
        for offset, (want, got) in enumerate(zip(segment.data, held, strict=True)):
            if want != got:
                raise BoardError(
                    f"Flash verify failed at 0x{segment.address + offset:08X}: 0x{got:02X} instead "
                    f"of 0x{want:02X}. Flash again; if it comes back, the sector is worn out."
                ) from failure
    raise failure
