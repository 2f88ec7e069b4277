"""Power control of the STM32H742, H743 and H753 (RM0433 6), and the over-drive bit in SYSCFG.

The supply configuration comes first: PWR_CR3 must be written once after power-on before the voltage
scale can change. Scale 0, for the highest clock, is scale 1 with SYSCFG_PWRCR.ODEN.
"""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.nucleosim.chip import RegisterBlock
from mcuq_lab.nucleosim.peripherals.storage import Storage

CSR1 = 0x04
CR3 = 0x0C
D3CR = 0x18
SYSCFG_PWRCR = 0x2C

_VOS_SHIFT = 14  # D3CR.VOS, CSR1.ACTVOS
_VOS_READY = 1 << 13  # D3CR.VOSRDY, CSR1.ACTVOSRDY
_SCALE_3 = 1
_SCALE_1 = 3

_BYPASS, _LDOEN, _SCUEN = 1 << 0, 1 << 1, 1 << 2
_SUPPLY = _BYPASS | _LDOEN | _SCUEN
_CR3_POWER_ON = _LDOEN | _SCUEN

_ODEN = 1 << 0


class PowerControlH7(Storage):
    """PWR: supply configuration and voltage scale."""

    def __init__(self, block: RegisterBlock, siblings: Mapping[str, Storage]) -> None:
        self._siblings = siblings
        self._cr3 = _CR3_POWER_ON
        self._vos = _SCALE_3
        super().__init__(block)

    def power_on(self) -> None:
        """The supply configuration can be written again; a system reset leaves it as it is."""
        self._cr3 = _CR3_POWER_ON

    def reset(self) -> None:
        """System reset: back to the lowest voltage."""
        super().reset()
        self._vos = _SCALE_3

    @property
    def voltage_scale(self) -> int:
        """The scale that the regulator gives, 0 (highest voltage) to 3 (lowest)."""
        if self._vos == _SCALE_1 and self._siblings["syscfg"].over_drive:
            return 0
        return 4 - max(self._vos, _SCALE_3)

    @property
    def _is_configured(self) -> bool:
        return not self._cr3 & _SCUEN

    def read_word(self, offset: int) -> int:
        """Value of one register; a voltage that was asked for is ready unless it cannot change."""
        if offset == CR3:
            return super().read_word(CR3) & ~_SUPPLY | self._cr3
        if offset == CSR1:
            return self._vos << _VOS_SHIFT | _VOS_READY
        value = super().read_word(offset)
        if offset == D3CR:
            reached = value >> _VOS_SHIFT & 3 == self._vos
            return value & ~_VOS_READY | (_VOS_READY if reached else 0)
        return value

    def write_word(self, offset: int, value: int) -> None:
        """Write one register."""
        if offset == CR3:
            valid = value & (_BYPASS | _LDOEN) in (_BYPASS, _LDOEN)
            if valid and not self._is_configured:
                self._cr3 = value & (_BYPASS | _LDOEN)
        super().write_word(offset, value)
        if offset == D3CR and self._is_configured:
            self._vos = value >> _VOS_SHIFT & 3


class SystemConfigurationH7(Storage):
    """SYSCFG, which takes writes only while it is clocked."""

    def __init__(self, block: RegisterBlock, siblings: Mapping[str, Storage]) -> None:
        self._siblings = siblings
        super().__init__(block)

    @property
    def over_drive(self) -> bool:
        """PWRCR.ODEN."""
        return bool(self.read_word(SYSCFG_PWRCR) & _ODEN)

    def write_word(self, offset: int, value: int) -> None:
        """Write one register, unless the block has no clock."""
        if self._siblings["rcc"].syscfg_clocked:
            super().write_word(offset, value)
