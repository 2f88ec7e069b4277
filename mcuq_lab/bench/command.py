"""One request to the firmware: through the mailbox, until it has stopped again, and why it has."""

from __future__ import annotations

from collections.abc import Callable

from pyocd.core.soc_target import SoCTarget

from mcuq_lab.bench import mailbox
from mcuq_lab.bench.core import Halt, run_until_halt
from mcuq_lab.bench.faults import describe_fault, describe_place
from mcuq_lab.bench.firmware import Firmware
from mcuq_lab.bench.mailbox import Reply, Request, Status
from mcuq_lab.errors import BoardError

Run = Callable[[SoCTarget, float], Halt]
"""How the core is let run until it halts, at most so many seconds."""


def send(
    target: SoCTarget,
    firmware: Firmware,
    request: Request,
    timeout_s: float,
    run: Run = run_until_halt,
) -> Reply:
    """Sends `request` to a core that is halted, at its reset vector or behind a request.

    Raises:
        BoardError: the firmware hangs (status `timeout`, with the place), faults (`fault`, with
            cause, function and line), was reset, or does not know the request (`probe_error`).
    """
    address = firmware.address(mailbox.SYMBOL)
    stopped = firmware.address("mcuq_stopped")
    if target.read_core_register("pc") == stopped:
        target.write_core_register("pc", stopped + 2)
    target.write_memory_block8(address, request.pack())
    halt = run(target, timeout_s)
    reply = mailbox.unpack_reply(bytes(target.read_memory_block8(address, mailbox.SIZE_BYTES)))
    _check(halt, reply, firmware, timeout_s)
    return reply


def _check(halt: Halt, reply: Reply, firmware: Firmware, timeout_s: float) -> None:
    if halt.reset:
        raise BoardError(
            "The chip was reset while it ran: a dip of its supply, or the reset button. "
            "Check the USB supply and run again."
        )
    if halt.halted and reply.status == Status.FAULT:
        raise BoardError(
            f"The firmware took a fault: {describe_fault(reply.fault, firmware)}. "
            f"Run the same sources on the host under the sanitizers to find the cause.",
            status="fault",
        )
    if halt.lockup:
        raise BoardError(
            f"The core locked up, by a fault within a fault, near "
            f"{describe_place(halt.pc, firmware)}. Run the same sources on the host under the "
            f"sanitizers to find the cause.",
            status="fault",
        )
    if not halt.halted:
        raise BoardError(
            f"The firmware did not end in {timeout_s:g} s; it was at "
            f"{describe_place(halt.pc, firmware)}. Look there for a loop, or allow more time.",
            status="timeout",
        )
    if halt.pc != firmware.address("mcuq_stopped") or reply.status != Status.DONE:
        raise BoardError(
            f"The core stopped at {describe_place(halt.pc, firmware)} with status {reply.status} "
            f"instead of finishing: the board holds another image than expected. Flash it again."
        )
