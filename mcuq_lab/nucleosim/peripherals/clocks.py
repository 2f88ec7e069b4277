"""What the clock control of every family offers to the board, and what they share.

A ready bit comes at once when its clock can run, and never when it cannot, so that a wrong clock
set-up waits for ever as it does on silicon. Clock frequencies do not change the cycle counts.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from enum import Enum, auto
from typing import ClassVar

from mcuq_lab.nucleosim.chip import RegisterBlock
from mcuq_lab.nucleosim.peripherals.storage import Storage

# (enable bit, ready bit) of LSI, LSE and HSI48, each in a register of its own
LOWEST_BITS = (1 << 0, 1 << 1)


class ResetCause(Enum):
    """Why the chip was reset: each family shows it in flags of its own."""

    POWER_ON = auto()
    BROWN_OUT = auto()
    SOFTWARE = auto()
    PIN = auto()


class ClockControl(Storage):
    """RCC of a family: oscillators, PLLs, and the switch between them."""

    # The register that says why the chip was reset, its flags, those of each cause, and the bit
    # that clears them.
    _flags_register: ClassVar[int]
    _flags_mask: ClassVar[int]
    _flags_of: ClassVar[Mapping[ResetCause, int]]
    _flags_clear: ClassVar[int]

    def __init__(
        self,
        block: RegisterBlock,
        limits: Mapping[str, tuple[int, ...]],
        siblings: Mapping[str, Storage],
    ) -> None:
        self._limits = limits
        self._siblings = siblings
        self._reset_flags = self._flags_of[ResetCause.POWER_ON]
        super().__init__(block)

    def reset(self) -> None:
        """Reset values; the flags that say why stay until they are cleared."""
        super().reset()
        self._set_flags()

    def note_reset(self, cause: ResetCause) -> None:
        """Show why the chip was reset; called after `reset`."""
        self._reset_flags |= self._flags_of[cause]
        self._set_flags()

    def _write_flags_register(self, value: int) -> None:
        """Write the register of the reset flags, which software can only clear."""
        if value & self._flags_clear:
            self._reset_flags = 0
        self._words[self._flags_register] = value & ~self._flags_clear
        self._set_flags()

    def _set_flags(self) -> None:
        others = self._words.get(self._flags_register, 0) & ~self._flags_mask
        self._words[self._flags_register] = others | self._reset_flags

    def _limit_hz(self, name: str, index: int) -> int:
        """A limit of the chip from its list; the last one holds beyond the end."""
        limits = self._limits[name]
        return limits[min(index, len(limits) - 1)]

    @property
    @abstractmethod
    def hclk_hz(self) -> int:
        """Frequency of the core as it is set."""

    @property
    def cycles_per_bus_cycle(self) -> int:
        """The core's clock over that of the bus to the flash."""
        return 1

    @abstractmethod
    def works(self, wait_states: int) -> bool:
        """Whether voltage and flash wait states allow the clocks that are set."""


def with_ready_bits(value: int, *oscillators: tuple[int, int]) -> int:
    """A register whose ready bits follow their enable bits; (enable bit, ready bit) of each."""
    for enable, ready in oscillators:
        value = value | ready if value & enable else value & ~ready
    return value


def ahb_shift(prescaler: int) -> int:
    """By how many bits CFGR.HPRE divides the system clock: none below 8; /32 is left out."""
    return (0, 1, 2, 3, 4, 6, 7, 8, 9)[max(prescaler - 7, 0)]
