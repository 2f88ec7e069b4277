"""How long flash takes to erase and program, by family: typical figures of the data sheets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class FlashTimes:
    """Typical times at 3.3 V.

    Attributes:
        program_s: one program operation: what the family programs at a time.
        erase_s: erasing a sector or page, by its size in bytes.
        source: data sheet and table.
    """

    program_s: float
    erase_s: Mapping[int, float]
    source: str

    def erase_sector_s(self, size_bytes: int) -> float:
        """Seconds to erase one sector, by the nearest size that is known."""
        return self.erase_s[min(self.erase_s, key=lambda known: abs(known - size_bytes))]


_F4_ERASE_S = {0x4000: 0.25, 0x10000: 0.55, 0x20000: 1.0}

# By what `chips/*.toml` names as the flash controller.
FLASH_TIMES: Mapping[str, FlashTimes] = {
    "f4": FlashTimes(
        program_s=16e-6,
        erase_s=_F4_ERASE_S,
        source="STM32F412 and STM32F429 data sheets, flash memory programming, parallelism x32",
    ),
    "f7": FlashTimes(
        program_s=16e-6,
        erase_s={0x8000: 0.25, 0x20000: 0.55, 0x40000: 1.0},
        source="STM32F767 data sheet, flash memory programming, parallelism x32",
    ),
    "l4": FlashTimes(
        program_s=81.69e-6,
        erase_s={0x800: 22.02e-3},
        source="STM32L432 data sheet, flash memory characteristics, 64 bits at a time",
    ),
    "h7": FlashTimes(
        program_s=100e-6,
        erase_s={0x20000: 1.0},
        source="STM32H743 data sheet (DS12110 rev 11, table 43), x64, 256 bits at a time",
    ),
}
