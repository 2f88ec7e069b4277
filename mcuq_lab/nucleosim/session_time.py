"""What a session would have taken with a real board: seconds by an account, not by a clock.

Everything is counted, nothing is measured: the same session gives the same seconds anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.nucleosim.chip import Flash
from mcuq_lab.nucleosim.flash_times import FLASH_TIMES


@dataclass(frozen=True)
class SessionSeconds:
    """Modelled seconds of a session.

    Attributes:
        transfers_s: accesses over SWD and USB, as by an ST-LINK/V2-1 (`swd_times`).
        flash_s: erasing and programming (`flash_times`).
        core_s: cycles in which the core ran code, at the core clock that was set when the debugger
            looked again. A core that sleeps, hangs or is locked up waits for the debugger, not the
            debugger for it.
    """

    transfers_s: float
    flash_s: float
    core_s: float

    @property
    def total_s(self) -> float:
        """All of them: what the debugger does while the core runs is counted beside it."""
        return self.transfers_s + self.flash_s + self.core_s


class SessionTime:
    """The account of core and flash. It is told of totals, and keeps what they cost."""

    def __init__(
        self, flash: Flash, cycles: int, instructions: int, erases: int, writes: int
    ) -> None:
        """An account that begins at these totals."""
        self._flash = flash
        self._times = FLASH_TIMES.get(flash.controller)
        self._cycles, self._instructions = cycles, instructions
        self._erases, self._writes = erases, writes
        self.core_s = self.flash_s = 0.0

    def note_core(self, cycles: int, instructions: int, hclk_hz: int) -> None:
        """The core has counted up to so many cycles and instructions."""
        if instructions != self._instructions and hclk_hz:
            self.core_s += (cycles - self._cycles) / hclk_hz
        self._cycles, self._instructions = cycles, instructions

    def note_flash(self, erases: int, writes: int, changed: tuple[int, int]) -> None:
        """The flash has counted up to so many erases and program operations.

        Which sectors were erased is taken from the range of offsets [start, end) that changed:
        exact when it is one sector, or all of them; else the mean of its sectors counts for each.
        """
        if self._times is not None:
            sizes = self._sector_sizes(*changed)
            mean_s = sum(map(self._times.erase_sector_s, sizes)) / len(sizes)
            self.flash_s += (erases - self._erases) * mean_s
            self.flash_s += (writes - self._writes) * self._times.program_s
        self._erases, self._writes = erases, writes

    def _sector_sizes(self, start: int, end: int) -> list[int]:
        sizes, at = [], 0
        for size in self._flash.sector_bytes:
            if at < end and at + size > start:
                sizes.append(size)
            at += size
        return sizes
