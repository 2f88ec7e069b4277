"""Flash interface of the STM32F76x and F77x with one bank of wide sectors (RM0410 chapter 3).

Two errors differ from the F4: what is wrong with the control register shows as ERSERR, and what
was PGSERR is gone. The option bytes hold the boot address. OPTCR.nDBANK can be cleared, but the
flash keeps its single bank.
"""

from __future__ import annotations

import numba

from mcuq_lab.nucleosim.engine.compiled import callback, compiled
from mcuq_lab.nucleosim.peripherals.flash import (
    BUSY,
    FAMILY,
    ON_PROGRAM,
    ON_READ,
    ON_WRITE,
    STATE_WORDS,
    UNLOCKED,
    FlashInterface,
    completes,
    contents,
    erase_sector,
    memory_of,
    note_access_settings,
    programmed,
    refuses,
    sector_at,
    sector_count,
    settle_store,
    store_operands,
    take_key,
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
_ACR = FAMILY
_SR = FAMILY + 1
_CR = FAMILY + 2
_OPTCR = FAMILY + 3
_OPTCR1 = FAMILY + 4
_KEYS = FAMILY + 5
_OPTION_KEYS = FAMILY + 6

_KEY1, _KEY2 = 0x45670123, 0xCDEF89AB
_OPTION_KEY1, _OPTION_KEY2 = 0x08192A3B, 0x4C5D6E7F

_ACR_WRITABLE = 0xB0F  # ARTRST, ARTEN, PRFTEN, LATENCY

_SR_EOP = 1 << 0
_SR_WRPERR = 1 << 4
_SR_PGPERR = 1 << 6
_SR_ERSERR = 1 << 7
_SR_CLEARABLE = 0xF3
_SR_BSY = 1 << 16

_CR_PG = 1 << 0
_CR_SER = 1 << 1
_CR_MER = 1 << 2
_CR_STRT = 1 << 16
_CR_EOPIE = 1 << 24
_CR_LOCK = 1 << 31
_CR_WRITABLE = 0x030083FF  # MER2 (bit 15) too: without a second bank it erases nothing

_OPTCR_LOCK = 1 << 0
_OPTCR_RESET = 0xFFFFAAFD
_OPTCR_WRITABLE = 0xFFFF00FC
_OPTCR1_RESET = 0x00400080  # BOOT_ADD1, BOOT_ADD0: the flash on the ITCM bus
_BOOT_ADDRESS_UNIT = 1 << 14


@compiled
def _is_protected(state, sector):
    """Whether a sector is write-protected (nWRP bit clear)."""
    return (state[_OPTCR] >> (16 + sector)) & 1 == 0


@compiled
def _start(state, memory):
    """CR.STRT was written: erase what CR selects."""
    cr = state[_CR]
    if cr & _CR_MER:
        first, end = 0, sector_count(state)
    elif cr & _CR_SER:
        first = (cr >> 3) & 0x1F
        end = first + 1
    else:
        state[_SR] |= _SR_ERSERR
        return
    for sector in range(first, end):
        if sector >= sector_count(state) or _is_protected(state, sector) or refuses(state):
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
        return state[_ACR]
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
        state[_ACR] = value & _ACR_WRITABLE
        note_access_settings(state)
    elif offset == KEYR:
        state[_KEYS] = take_key(state[_KEYS], value, _KEY1, _KEY2)
        if state[_KEYS] == UNLOCKED:
            state[_CR] &= ~_CR_LOCK
    elif offset == OPTKEYR:
        state[_OPTION_KEYS] = take_key(state[_OPTION_KEYS], value, _OPTION_KEY1, _OPTION_KEY2)
        if state[_OPTION_KEYS] == UNLOCKED:
            state[_OPTCR] &= ~_OPTCR_LOCK
    elif offset == SR:
        state[_SR] &= ~(value & _SR_CLEARABLE)
    elif offset == CR and state[_CR] & _CR_LOCK == 0 and state[BUSY] == 0:
        _write_cr(state, memory, value)
    elif offset == OPTCR and state[_OPTCR] & _OPTCR_LOCK == 0:
        # The read protection level (bits 15..8) stays at 0.
        state[_OPTCR] = (value & _OPTCR_WRITABLE) | 0xAA00
        if value & _OPTCR_LOCK:
            state[_OPTCR] |= _OPTCR_LOCK
            state[_OPTION_KEYS] = 0
    elif offset == OPTCR1 and state[_OPTCR] & _OPTCR_LOCK == 0:
        state[_OPTCR1] = value


@compiled
def _write_cr(state, memory, value):
    state[_CR] = value & (_CR_WRITABLE & ~_CR_STRT)
    if value & _CR_LOCK:
        state[_CR] |= _CR_LOCK
        state[_KEYS] = 0
    elif value & _CR_STRT:
        _start(state, memory)


@compiled
def program(state, memory, offset, size, value):
    """What `size` bytes of flash become by a store, if the controller allows one.

    Sets the error flags; the contents are left to the caller.
    """
    cr = state[_CR]
    old = contents(memory, offset, size)
    if cr & _CR_PG == 0 or cr & (_CR_LOCK | _CR_SER | _CR_MER):
        state[_SR] |= _SR_ERSERR
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


@callback(ON_READ)
def _on_read(_engine, offset, size, user_data):
    state = numba.carray(user_data, (STATE_WORDS,))
    return numba.uint64(read_register(state, numba.int64(offset)))


@callback(ON_WRITE)
def _on_write(_engine, offset, size, value, user_data):
    state = numba.carray(user_data, (STATE_WORDS,))
    write_register(state, memory_of(state), numba.int64(offset), numba.int64(value))


@callback(ON_PROGRAM)
def _on_program(_engine, _access, address, size, value, user_data):
    state = numba.carray(user_data, (STATE_WORDS,))
    offset, size, value = store_operands(state, address, size, value)
    result = program(state, memory_of(state), offset, size, value)
    return settle_store(state, offset, size, value, result)


class FlashControllerF7(FlashInterface):
    """The interface of the STM32F7."""

    on_read = _on_read
    on_write = _on_write
    on_program = _on_program
    _read_register = staticmethod(read_register)
    _write_register = staticmethod(write_register)
    _program = staticmethod(program)

    def _load_options(self) -> None:
        self.state[_OPTCR] = _OPTCR_RESET
        self.state[_OPTCR1] = _OPTCR1_RESET

    def _reset_registers(self) -> None:
        self.state[[_ACR, _SR, _KEYS, _OPTION_KEYS]] = 0
        self.state[_CR] = _CR_LOCK
        self.state[_OPTCR] |= _OPTCR_LOCK

    @property
    def wait_states(self) -> int:
        """ACR.LATENCY."""
        return int(self.state[_ACR]) & 0xF

    @property
    def boot_address(self) -> int:
        """BOOT_ADD0, the one that counts with the BOOT pin low (RM0410, boot configuration)."""
        return (int(self.state[_OPTCR1]) & 0xFFFF) * _BOOT_ADDRESS_UNIT
