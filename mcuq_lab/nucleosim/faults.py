"""What can be made to go wrong with a simulated board, so that its users can test how they cope."""

from __future__ import annotations

from dataclasses import dataclass, fields

from mcuq_lab.nucleosim.errors import FaultsError


@dataclass(frozen=True)
class Faults:
    """Faults of one board. Each stays until other faults are injected.

    An access is one call of pyOCD's memory interface, of any length, or one register of a debug or
    access port; they are counted from the injection. A count of 0 means for ever. Cycles are core
    cycles after the injection; they pass only while the core is not halted, and take effect at the
    end of a basic block.

    Attributes:
        unplugged: the probe is gone: it is not listed, and every use of it fails. A cable that is
            out; on USB, an I/O error.
        unplugged_after: so many accesses succeed, then the probe is gone. A cable that comes out in
            the middle of a session.
        transfer_fault_after: so many accesses succeed, then the next ones get no answer: a loose
            wire or a spike, which a probe reports as a protocol or parity error.
        transfer_fault_count: how many get none.
        swd_fault_after: so many accesses succeed, then the next ones to memory or to an access port
            are acknowledged with FAULT: the bus refused, as under read protection or while a power
            domain is off. The debug port itself still answers.
        swd_fault_count: how many are.
        swd_wait_after: so many accesses succeed, then memory and access port answer WAIT: the bus
            is busy, as while flash is read that is being erased. A probe repeats the access; when
            it has lost patience, pyOCD raises TransferTimeoutError.
        swd_wait_count: how many answers are WAIT; each repetition gets one.
        slow_swd_hz: the clock on the wire is no faster, whatever is asked for: a long cable. Only
            the modelled time shows it.
        stuck_flash_address: bit 0 of this byte of flash can no longer be programmed to 0, so that
            verifying an image that needs it fails. A worn-out cell.
        flash_stuck_busy: BSY stays set and no erase or program operation ends: pyOCD's flash
            algorithm waits for it until pyOCD's own time limit.
        flash_error_after: so many erase and program operations succeed, then each one ends with an
            error flag and changes nothing, as under write protection. pyOCD's algorithm for the
            STM32H743 does not look at the flag: there, only a comparison finds out.
        hang_at_cycle: the core stops making progress; time passes, and it never halts by itself.
            The debugger can still halt it; a reset ends the hang.
        hard_fault_at_cycle: the core takes a HardFault (as from a bus error on a vector fetch).
        brown_out_at_cycle: the supply dips: the chip restarts, RAM and debug state are lost.

    Raises:
        FaultsError: a value is negative, or a clock is 0.
    """

    unplugged: bool = False
    unplugged_after: int | None = None
    transfer_fault_after: int | None = None
    transfer_fault_count: int = 1
    swd_fault_after: int | None = None
    swd_fault_count: int = 1
    swd_wait_after: int | None = None
    swd_wait_count: int = 0
    slow_swd_hz: int | None = None
    stuck_flash_address: int | None = None
    flash_stuck_busy: bool = False
    flash_error_after: int | None = None
    hang_at_cycle: int | None = None
    hard_fault_at_cycle: int | None = None
    brown_out_at_cycle: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < (field.name == "slow_swd_hz"):
                raise FaultsError(
                    f"fault {field.name} = {value} is too small. Counts, addresses and cycles "
                    "start at 0, a clock at 1 Hz."
                )
