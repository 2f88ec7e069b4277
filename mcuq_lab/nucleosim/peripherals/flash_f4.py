"""Flash interface of the STM32F4, with one bank or two (RM0402 chapter 3, RM0090 chapter 3).

Sectors are numbered through both banks here. In the registers, those of bank 2 start at SNB 16.
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

_ACR_PRFTEN = 1 << 8
_ACR_ICEN = 1 << 9
_ACR_DCEN = 1 << 10

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

_BANK_SECTORS = 12  # a chip that has more has a second bank
_SNB_BANK_2 = 16

_KEY1, _KEY2 = 0x45670123, 0xCDEF89AB
_OPTION_KEY1, _OPTION_KEY2 = 0x08192A3B, 0x4C5D6E7F

_SR_EOP = 1 << 0
_SR_WRPERR = 1 << 4
_SR_PGPERR = 1 << 6
_SR_PGSERR = 1 << 7
_SR_CLEARABLE = 0x1F3
_SR_BSY = 1 << 16

_CR_PG = 1 << 0
_CR_SER = 1 << 1
_CR_MER = 1 << 2
_CR_MER1 = 1 << 15  # mass erase of bank 2
_CR_STRT = 1 << 16
_CR_EOPIE = 1 << 24
_CR_LOCK = 1 << 31
_CR_WRITABLE = 0x0301037F
_CR_WRITABLE_2_BANKS = 0x030183FF

_OPTCR_LOCK = 1 << 0
_OPTCR_RESET = 0x0FFFAAED
_OPTCR1_RESET = 0x0FFF0000
_OPTCR_NWRP = 0x0FFF0000
_OPTCR_WRITABLE = _OPTCR_NWRP | 0xEC
_OPTCR_DB1M = 1 << 30


@compiled
def _has_2_banks(state):
    return sector_count(state) > _BANK_SECTORS


@compiled
def _is_protected(state, sector):
    """Whether a sector is write-protected (nWRP bit clear)."""
    if sector < _BANK_SECTORS:
        return (state[_OPTCR] >> (16 + sector)) & 1 == 0
    return (state[_OPTCR1] >> (16 + sector - _BANK_SECTORS)) & 1 == 0


@compiled
def _selected_sector(state):
    """Sector that CR.SNB selects; -1 if there is none."""
    if not _has_2_banks(state):
        sector = (state[_CR] >> 3) & 0xF
        return sector if sector < sector_count(state) else -1
    number = (state[_CR] >> 3) & 0x1F
    in_bank = number & (_SNB_BANK_2 - 1)
    if in_bank >= _BANK_SECTORS:
        return -1
    return in_bank if number < _SNB_BANK_2 else in_bank + _BANK_SECTORS


@compiled
def _start(state, memory):
    """CR.STRT was written: erase what CR selects."""
    cr = state[_CR]
    if cr & (_CR_MER | _CR_MER1):
        first = 0 if cr & _CR_MER else _BANK_SECTORS
        end = sector_count(state) if cr & _CR_MER1 else min(_BANK_SECTORS, sector_count(state))
    elif cr & _CR_SER:
        first = _selected_sector(state)
        end = first + 1
    else:
        state[_SR] |= _SR_PGSERR
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
        return state[_ACR]
    if offset == SR:
        return state[_SR] | (_SR_BSY if state[BUSY] else 0)
    if offset == CR:
        return state[_CR]
    if offset == OPTCR:
        return state[_OPTCR]
    if offset == OPTCR1 and _has_2_banks(state):
        return state[_OPTCR1]
    return 0


@compiled
def write_register(state, memory, offset, value):
    """Write the register at `offset`."""
    if offset == ACR:
        state[_ACR] = value & 0x1F0F
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
        # The read protection level (bits 15..8) stays at 0, and so does booting from bank 2.
        writable = _OPTCR_WRITABLE | (_OPTCR_DB1M if _has_2_banks(state) else 0)
        state[_OPTCR] = (value & writable) | 0xAA00
        if value & _OPTCR_LOCK:
            state[_OPTCR] |= _OPTCR_LOCK
            state[_OPTION_KEYS] = 0
    elif offset == OPTCR1 and state[_OPTCR] & _OPTCR_LOCK == 0:
        state[_OPTCR1] = value & _OPTCR_NWRP


@compiled
def _write_cr(state, memory, value):
    writable = _CR_WRITABLE_2_BANKS if _has_2_banks(state) else _CR_WRITABLE
    state[_CR] = value & (writable & ~_CR_STRT)
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
    if cr & _CR_PG == 0 or cr & (_CR_LOCK | _CR_SER | _CR_MER | _CR_MER1):
        state[_SR] |= _SR_PGSERR
        return old
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


class FlashControllerF4(FlashInterface):
    """The interface of the STM32F4."""

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
    def prefetch_on(self) -> bool:
        """ACR.PRFTEN."""
        return bool(self.state[_ACR] & _ACR_PRFTEN)

    @property
    def instruction_cache_on(self) -> bool:
        """ACR.ICEN."""
        return bool(self.state[_ACR] & _ACR_ICEN)

    @property
    def data_cache_on(self) -> bool:
        """ACR.DCEN."""
        return bool(self.state[_ACR] & _ACR_DCEN)
