"""Flash interface of the STM32F4, with one bank or two (RM0402 chapter 3, RM0090 chapter 3).

OPTCR.BFB2 cannot be set, so that booting is from bank 1.
"""

from __future__ import annotations

import dataclasses

from mcuq_lab.nucleosim.peripherals.flash_f4_f7 import (
    BANK_SECTORS,
    FlashInterfaceF4F7,
    Registers,
)

_ONE_BANK = Registers(
    acr_writable=0x1F0F,
    sr_clearable=0x1F3,
    cr_writable=0x0300037F,
    cr_mer1=0,
    optcr_writable=0x0FFF00EC,
    optcr1_writable=0,
    optcr_factory=0x0FFFAAED,
    optcr1_factory=0,
)
_TWO_BANKS = dataclasses.replace(
    _ONE_BANK,
    cr_writable=0x030083FF,
    cr_mer1=1 << 15,
    optcr_writable=0x4FFF00EC,  # DB1M too
    optcr1_writable=0x0FFF0000,
    optcr1_factory=0x0FFF0000,
)


class FlashControllerF4(FlashInterfaceF4F7):
    """The interface of the STM32F4."""

    _has_caches = True

    @property
    def _registers(self) -> Registers:
        return _TWO_BANKS if len(self.flash.sector_bytes) > BANK_SECTORS else _ONE_BANK
