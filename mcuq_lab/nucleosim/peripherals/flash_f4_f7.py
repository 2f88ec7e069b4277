"""What the flash interfaces of STM32F4 and F7 share, which is nearly all.

Sectors are numbered through both banks here. In the registers, those of bank 2 start at SNB 16.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from dataclasses import dataclass

from mcuq_lab.nucleosim.engine.compiled import compiled
from mcuq_lab.nucleosim.peripherals.flash import FlashInterface
from mcuq_lab.nucleosim.peripherals.flash_state import (
    ACCESS_CONTROL,
    BUSY,
    FAMILY,
    KEYS,
    OPTION_KEYS,
    completes,
    contents,
    erase_sector,
    programmed,
    refuses,
    sector_at,
    sector_count,
    set_access_control,
    unlock,
)

# Registers, by offset
ACR = 0x00
KEYR = 0x04
OPTKEYR = 0x08
SR = 0x0C
CR = 0x10
OPTCR = 0x14
OPTCR1 = 0x18

# Words of the state
_SR = FAMILY
_CR = FAMILY + 1
_OPTCR = FAMILY + 2
_OPTCR1 = FAMILY + 3
_STAGE = FAMILY + 4  # of the keys that open CR
_OPTION_STAGE = FAMILY + 5  # of those that open the option bytes
_ACR_WRITABLE = FAMILY + 6  # from here on what `Registers` gives
_SR_CLEARABLE = FAMILY + 7
_CR_WRITABLE = FAMILY + 8
_CR_MER1 = FAMILY + 9
_OPTCR_WRITABLE = FAMILY + 10
_OPTCR1_WRITABLE = FAMILY + 11

BANK_SECTORS = 12  # a chip that has more has a second bank
_SNB_BANK_2 = 16

_SR_EOP = 1 << 0
_SR_WRPERR = 1 << 4
_SR_PGPERR = 1 << 6
_SR_SEQUENCE = 1 << 7  # PGSERR of the F4, ERSERR of the F7
_SR_BSY = 1 << 16

_CR_PG = 1 << 0
_CR_SER = 1 << 1
_CR_MER = 1 << 2
_CR_STRT = 1 << 16
_CR_EOPIE = 1 << 24
_CR_LOCK = 1 << 31

_OPTCR_LOCK = 1 << 0
_RDP_LEVEL_0 = 0xAA00


@dataclass(frozen=True)
class Registers:
    """What differs in the registers, as masks, and the option bytes from the factory."""

    acr_writable: int
    sr_clearable: int
    cr_writable: int
    cr_mer1: int  # mass erase of bank 2; 0 if there is none
    optcr_writable: int  # but for the read protection level, which stays at 0, and OPTLOCK
    optcr1_writable: int
    optcr_factory: int
    optcr1_factory: int


@compiled
def _is_protected(state, sector):
    """Whether a sector is write-protected (nWRP bit clear)."""
    if sector < BANK_SECTORS:
        return (state[_OPTCR] >> (16 + sector)) & 1 == 0
    return (state[_OPTCR1] >> (16 + sector - BANK_SECTORS)) & 1 == 0


@compiled
def _selected_sector(state):
    """Sector that CR.SNB selects; -1 if there is none."""
    number = (state[_CR] >> 3) & 0x1F
    in_bank = number & (_SNB_BANK_2 - 1)
    sector = in_bank if number < _SNB_BANK_2 else in_bank + BANK_SECTORS
    return sector if in_bank < BANK_SECTORS and sector < sector_count(state) else -1


@compiled
def _start(state, memory):
    """CR.STRT was written: erase what CR selects."""
    cr = state[_CR]
    mass_erase_2 = cr & state[_CR_MER1]
    if cr & _CR_MER or mass_erase_2:
        first = 0 if cr & _CR_MER else BANK_SECTORS
        end = sector_count(state) if mass_erase_2 else min(BANK_SECTORS, sector_count(state))
    elif cr & _CR_SER:
        first = _selected_sector(state)
        end = first + 1
    else:
        state[_SR] |= _SR_SEQUENCE
        return
    for sector in range(first, end):
        if sector < 0 or _is_protected(state, sector) or refuses(state):
            state[_SR] |= _SR_WRPERR
            return
    if not completes(state):
        return
    for sector in range(first, end):
        erase_sector(state, memory, sector)
    if cr & _CR_EOPIE:
        state[_SR] |= _SR_EOP


@compiled
def read_register(state, offset):
    """Value of the register at `offset`; the key registers read as 0."""
    if offset == ACR:
        return state[ACCESS_CONTROL]
    if offset == SR:
        return state[_SR] | (_SR_BSY if state[BUSY] else 0)
    if offset == CR:
        return state[_CR]
    if offset == OPTCR:
        return state[_OPTCR]
    if offset == OPTCR1:
        return state[_OPTCR1]
    return 0


@compiled
def write_register(state, memory, offset, value):
    """Write the register at `offset`."""
    if offset == ACR:
        set_access_control(state, value & state[_ACR_WRITABLE])
    elif offset == KEYR:
        unlock(state, _STAGE, value, KEYS, _CR, _CR_LOCK)
    elif offset == OPTKEYR:
        unlock(state, _OPTION_STAGE, value, OPTION_KEYS, _OPTCR, _OPTCR_LOCK)
    elif offset == SR:
        state[_SR] &= ~(value & state[_SR_CLEARABLE])
    elif offset == CR and state[_CR] & _CR_LOCK == 0 and state[BUSY] == 0:
        _write_cr(state, memory, value)
    elif offset == OPTCR and state[_OPTCR] & _OPTCR_LOCK == 0:
        state[_OPTCR] = (value & state[_OPTCR_WRITABLE]) | _RDP_LEVEL_0
        if value & _OPTCR_LOCK:
            state[_OPTCR] |= _OPTCR_LOCK
            state[_OPTION_STAGE] = 0
    elif offset == OPTCR1 and state[_OPTCR] & _OPTCR_LOCK == 0:
        state[_OPTCR1] = value & state[_OPTCR1_WRITABLE]


@compiled
def _write_cr(state, memory, value):
    state[_CR] = value & state[_CR_WRITABLE]
    if value & _CR_LOCK:
        state[_CR] |= _CR_LOCK
        state[_STAGE] = 0
    elif value & _CR_STRT:
        _start(state, memory)


@compiled
def program(state, memory, offset, size, value):
    """What `size` bytes of flash become by a store, if the controller allows one.

    Sets the error flags; the contents are left to the caller.
    """
    cr = state[_CR]
    old = contents(memory, offset, size)
    if cr & _CR_PG == 0 or cr & (_CR_LOCK | _CR_SER | _CR_MER | state[_CR_MER1]):
        state[_SR] |= _SR_SEQUENCE
        return old
    # Parallelism of 64 bits is for an external supply of VPP, which a Nucleo has not.
    if size != 1 << ((cr >> 8) & 3):
        state[_SR] |= _SR_PGPERR
        return old
    if _is_protected(state, sector_at(state, offset)) or refuses(state):
        state[_SR] |= _SR_WRPERR
        return old
    if not completes(state):
        return old
    if cr & _CR_EOPIE:
        state[_SR] |= _SR_EOP
    return programmed(state, old, offset, size, value)


class FlashInterfaceF4F7(FlashInterface):
    """The interface of a family, but for what its `Registers` say."""

    _family = sys.modules[__name__]

    @property
    @abstractmethod
    def _registers(self) -> Registers:
        """What distinguishes the registers of this chip."""

    def _load_options(self) -> None:
        registers = self._registers
        self.state[_ACR_WRITABLE] = registers.acr_writable
        self.state[_SR_CLEARABLE] = registers.sr_clearable
        self.state[_CR_WRITABLE] = registers.cr_writable
        self.state[_CR_MER1] = registers.cr_mer1
        self.state[_OPTCR_WRITABLE] = registers.optcr_writable
        self.state[_OPTCR1_WRITABLE] = registers.optcr1_writable
        self.state[_OPTCR] = registers.optcr_factory
        self.state[_OPTCR1] = registers.optcr1_factory

    def _reset_registers(self) -> None:
        self.state[[ACCESS_CONTROL, _SR, _STAGE, _OPTION_STAGE]] = 0
        self.state[_CR] = _CR_LOCK
        self.state[_OPTCR] |= _OPTCR_LOCK
