"""Flash interface of the STM32F76x and F77x with one bank of wide sectors (RM0410 chapter 3).

Two errors differ from the F4: what is wrong with the control register shows as ERSERR, and what
was PGSERR is gone. The option bytes hold the boot address. OPTCR.nDBANK can be cleared, but the
flash keeps its single bank.
"""

from __future__ import annotations

from mcuq_lab.nucleosim.peripherals.flash_f4_f7 import OPTCR1, FlashInterfaceF4F7, Registers

_REGISTERS = Registers(
    acr_writable=0xB0F,  # ARTRST, ARTEN, PRFTEN, LATENCY
    sr_clearable=0xF3,
    cr_writable=0x030083FF,  # MER2 (bit 15) too: without a second bank it erases nothing
    cr_mer1=0,
    optcr_writable=0xFFFF00FC,
    optcr1_writable=0xFFFFFFFF,
    optcr_factory=0xFFFFAAFD,
    optcr1_factory=0x00400080,  # BOOT_ADD1, BOOT_ADD0: the flash on the ITCM bus
)
_BOOT_ADDRESS_UNIT = 1 << 14


class FlashControllerF7(FlashInterfaceF4F7):
    """The interface of the STM32F7."""

    _registers = _REGISTERS

    @property
    def boot_address(self) -> int:
        """BOOT_ADD0, the one that counts with the BOOT pin low (RM0410, boot configuration)."""
        boot_add0 = self.read(self.flash.controller_base + OPTCR1, 4) & 0xFFFF
        return boot_add0 * _BOOT_ADDRESS_UNIT
