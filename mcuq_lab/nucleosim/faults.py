"""What can be made to go wrong with a simulated board, so that its users can test how they cope."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Faults of one board. Each stays until other faults are injected.

    Cycles are core cycles after the injection; they pass only while the core is not halted, and
    take effect at the end of a basic block.

    Attributes:
        unplugged: the probe is gone: it is not listed, and every use of it fails.
        transfer_fault_after: so many accesses over SWD succeed, then the next ones fail.
        transfer_fault_count: how many fail.
        stuck_flash_address: bit 0 of this byte of flash can no longer be programmed to 0, so that
            verifying an image that needs it fails.
        hang_at_cycle: the core stops making progress; time passes, and it never halts by itself.
            The debugger can still halt it; a reset ends the hang.
        hard_fault_at_cycle: the core takes a HardFault (as from a bus error on a vector fetch).
        brown_out_at_cycle: the supply dips: the chip restarts, RAM and debug state are lost.
    """

    unplugged: bool = False
    transfer_fault_after: int | None = None
    transfer_fault_count: int = 1
    stuck_flash_address: int | None = None
    hang_at_cycle: int | None = None
    hard_fault_at_cycle: int | None = None
    brown_out_at_cycle: int | None = None
