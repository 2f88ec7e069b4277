"""The core under the debugger: reset, clock, run until it halts. Pure effects on pyOCD's target."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass

from pyocd.core.soc_target import SoCTarget
from pyocd.core.target import Target

from mcuq_lab.board import Clock, RegisterWrite
from mcuq_lab.errors import BoardError

# DHCSR: Armv7-M Architecture Reference Manual, C1.6.2.
_DHCSR = 0xE000EDF0
_S_HALT = 1 << 17
_S_LOCKUP = 1 << 19
_S_RESET_ST = 1 << 25

_READY_TIMEOUT_S = 1.0

# Polls follow each other at once in the beginning; later they wait this share of the time passed,
# at most so long: a poll over USB costs the probe's time, waiting costs the measurement's.
_WAIT_SHARE = 0.02
_WAIT_MOST_S = 0.02


@dataclass(frozen=True)
class Halt:
    """Why the core no longer runs.

    Attributes:
        halted: it stopped at a BKPT, pc says where; otherwise it did not stop in time.
        lockup: a fault within a fault.
        reset: the chip was reset while it ran: power dip, watchdog, or the button.
        pc: program counter after the halt.
    """

    halted: bool
    lockup: bool
    reset: bool
    pc: int


def reset_and_halt(target: SoCTarget, clock: Clock) -> None:
    """Resets the chip, halts at the reset vector, and sets the clock.

    Raises:
        BoardError: the core does not halt, or a clock never becomes ready.
    """
    target.reset_and_halt()
    # Reading DHCSR clears S_RESET_ST, so that a later one means a later reset.
    if not target.read32(_DHCSR) & _S_HALT:
        raise BoardError(
            "The core does not halt at its reset vector. Power-cycle the board; if that does not "
            "help, its flash may be read-protected or its reset line held."
        )
    for write in clock.writes:
        _apply(target, clock, write)


def run_until_halt(target: SoCTarget, timeout_s: float) -> Halt:
    """Lets the core run until it halts by itself, is reset, locks up, or the time is over.

    In the latter cases it is halted by force. DHCSR is read directly: pyOCD's `get_state` reads
    S_RESET_ST, which a read clears, and does not report it when the core already runs again.
    """
    # A capability of the probe; real ones lack it.
    waits = not getattr(target.session.probe, "runs_while_polled", False)
    target.resume()
    started = time.monotonic()
    while True:
        dhcsr = target.read32(_DHCSR)
        passed_s = time.monotonic() - started
        reset, lockup = bool(dhcsr & _S_RESET_ST), bool(dhcsr & _S_LOCKUP)
        halted = bool(dhcsr & _S_HALT)
        if reset or lockup or halted or passed_s > timeout_s:
            if not halted or lockup:
                target.halt()
            pc = int(target.read_core_register("pc"))
            return Halt(halted=halted and not lockup, lockup=lockup, reset=reset, pc=pc)
        if waits:
            time.sleep(min(passed_s * _WAIT_SHARE, _WAIT_MOST_S))


def run_call(
    target: SoCTarget, timeout_s: float, address: int, watch: AbstractContextManager
) -> Halt:
    """As `run_until_halt`; `watch` is open while the function at an address runs, the first time.

    Takes one hardware breakpoint.
    """
    halt = _run_to(target, timeout_s, address)
    if halt.pc != address:
        return halt
    back = int(target.read_core_register("lr")) & ~1
    with watch:
        halt = _run_to(target, timeout_s, back)
    return halt if halt.pc != back else run_until_halt(target, timeout_s)


def _run_to(target: SoCTarget, timeout_s: float, address: int) -> Halt:
    target.set_breakpoint(address, Target.BreakpointType.HW)
    halt = run_until_halt(target, timeout_s)
    target.remove_breakpoint(address)
    return halt


def _apply(target: SoCTarget, clock: Clock, write: RegisterWrite) -> None:
    before = target.read32(write.address)
    target.write32(write.address, (before & ~write.mask) | (write.value & write.mask))
    if not write.wait_mask:
        return
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while target.read32(write.address) & write.wait_mask != write.wait_value:
        if time.monotonic() > deadline:
            raise BoardError(
                f"Clock '{clock.name}': 0x{write.address:08X} not ready in {_READY_TIMEOUT_S:g} s "
                f"({write.comment}). Compare board.toml with {clock.source}."
            )
