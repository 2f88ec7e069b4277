"""What the clock and power control of every family offers to the board."""

from __future__ import annotations

from abc import abstractmethod
from enum import Enum, auto

from mcuq_lab.nucleosim.peripherals.storage import Storage


class ResetCause(Enum):
    """Why the chip was reset: each family shows it in flags of its own."""

    POWER_ON = auto()
    BROWN_OUT = auto()
    SOFTWARE = auto()
    PIN = auto()


class ClockControl(Storage):
    """RCC of a family. A ready bit comes at once when its clock can run, and never when not."""

    @property
    @abstractmethod
    def hclk_hz(self) -> int:
        """Frequency of the core as it is set."""

    @abstractmethod
    def note_reset(self, cause: ResetCause) -> None:
        """Show why the chip was reset; called after `reset`."""

    @abstractmethod
    def works(self, wait_states: int) -> bool:
        """Whether voltage and flash wait states allow the clocks that are set."""
