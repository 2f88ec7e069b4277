"""Core registers by the numbers of DCRSR (ARMv7-M reference manual, C1.6.3)."""

from __future__ import annotations

import unicorn
from unicorn import arm_const as arm

from mcuq_lab.nucleosim.engine.unicorn_api import read_register, write_register

XPSR = 16
MSP = 17
PSP = 18
CONTROL_BYTES = 20  # CONTROL, FAULTMASK, BASEPRI, PRIMASK, from the high byte down
FPSCR = 0x21
S0 = 0x40
SP = 13
LR = 14
PC = 15

_IDS = {
    **{number: arm.UC_ARM_REG_R0 + number for number in range(13)},
    SP: arm.UC_ARM_REG_SP,
    LR: arm.UC_ARM_REG_LR,
    PC: arm.UC_ARM_REG_PC,
    XPSR: arm.UC_ARM_REG_XPSR,
    MSP: arm.UC_ARM_REG_MSP,
    PSP: arm.UC_ARM_REG_PSP,
    FPSCR: arm.UC_ARM_REG_FPSCR,
    **{S0 + number: arm.UC_ARM_REG_S0 + number for number in range(32)},
}

_CONTROL_FIELDS = (
    (24, arm.UC_ARM_REG_CONTROL),
    (16, arm.UC_ARM_REG_FAULTMASK),
    (8, arm.UC_ARM_REG_BASEPRI),
    (0, arm.UC_ARM_REG_PRIMASK),
)


class Registers:
    """The register file of one Unicorn engine. Unknown numbers read as 0 and ignore writes."""

    def __init__(self, uc: unicorn.Uc) -> None:
        self._uc = uc

    def read(self, number: int) -> int:
        """Value of a register as an unsigned word."""
        if number == CONTROL_BYTES:
            return sum((read_register(self._uc, id) & 0xFF) << at for at, id in _CONTROL_FIELDS)
        id = _IDS.get(number)
        return 0 if id is None else read_register(self._uc, id)

    def write(self, number: int, value: int) -> None:
        """Set a register. Setting PC also sets Thumb state, the only one there is."""
        if number == CONTROL_BYTES:
            for at, id in _CONTROL_FIELDS:
                write_register(self._uc, id, value >> at & 0xFF)
            return
        if number == PC:
            value |= 1
        if number in (SP, MSP, PSP):
            value &= ~3
        id = _IDS.get(number)
        if id is not None:
            write_register(self._uc, id, value & 0xFFFFFFFF)

    @property
    def pc(self) -> int:
        """Program counter, bit 0 clear."""
        return read_register(self._uc, arm.UC_ARM_REG_PC) & ~1

    @pc.setter
    def pc(self, value: int) -> None:
        write_register(self._uc, arm.UC_ARM_REG_PC, value | 1)

    @property
    def it_state(self) -> int:
        """ITSTATE, the rest of an IT block: its low four bits are 0 outside of one."""
        xpsr = self.read(XPSR)
        return xpsr >> 8 & 0xFC | xpsr >> 25 & 3

    @property
    def exception(self) -> int:
        """Number of the exception that is being handled; 0 in thread mode (IPSR)."""
        return self.read(XPSR) & 0x1FF
