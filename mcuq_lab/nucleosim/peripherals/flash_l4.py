"""Flash interface of the STM32L4 with one bank (RM0394 chapter 3).

Programming is by double words: the first word waits for the second. Here it shows in the contents
at once, and goes again if the second does not follow. Fast programming never misses data, because
no time passes. Option bytes take effect when they are programmed, without OBL_LAUNCH.
"""

from __future__ import annotations

import sys

from mcuq_lab.nucleosim.engine.compiled import compiled
from mcuq_lab.nucleosim.peripherals.flash import FlashInterface
from mcuq_lab.nucleosim.peripherals.flash_state import (
    ACCESS_CONTROL,
    BUSY,
    FAMILY,
    KEYS,
    OPTION_KEYS,
    UNLOCKED,
    cleared,
    completes,
    contents,
    erase_sector,
    is_repeated,
    mark_dirty,
    programmed,
    refuses,
    sector_at,
    sector_count,
    set_access_control,
    take_key,
    unlock,
)

# Registers, by offset
ACR = 0x00
PDKEYR = 0x04
KEYR = 0x08
OPTKEYR = 0x0C
SR = 0x10
CR = 0x14
OPTR = 0x20
PCROP1SR = 0x24
PCROP1ER = 0x28
WRP1AR = 0x2C
WRP1BR = 0x30

# Words of the state
_SR = FAMILY
_CR = FAMILY + 1
_STAGE = FAMILY + 2  # of the keys that open CR
_OPTION_STAGE = FAMILY + 3  # of those that open the option bytes
_POWER_STAGE = FAMILY + 4  # of those that open ACR.RUN_PD
_FIRST = FAMILY + 5  # offset of a first word that waits for the second, or -1
_FIRST_OLD = FAMILY + 6  # what was there before
_FIRST_NEW = FAMILY + 7
_ROW = FAMILY + 8  # where the next word of fast programming goes, or -1 between rows
_MASS_ERASED = FAMILY + 9  # 1 after a mass erase: fast programming is allowed
_OPTIONS = FAMILY + 10  # the option registers from OPTR on, as they were written
_PROGRAMMED = FAMILY + 15  # and as they were programmed

_OPTION_REGISTERS = 5
_ROW_BYTES = 256
_ERASED = 0xFFFFFFFF

_POWER_KEYS = (0x04152637, 0xFAFBFCFD)

_ACR_RESET = 0x600  # caches are on
_ACR_WRITABLE = 0x7F07
_ACR_ICEN = 1 << 9
_ACR_DCEN = 1 << 10
_ACR_ICRST = 1 << 11
_ACR_DCRST = 1 << 12
_ACR_RUN_PD = 1 << 13

_SR_EOP = 1 << 0
_SR_OPERR = 1 << 1
_SR_PROGERR = 1 << 3
_SR_WRPERR = 1 << 4
_SR_PGAERR = 1 << 5
_SR_SIZERR = 1 << 6
_SR_PGSERR = 1 << 7
_SR_FASTERR = 1 << 9
_SR_ERRORS = 0x3F8
_SR_CLEARABLE = 0xC3FB
_SR_BSY = 1 << 16

_CR_PG = 1 << 0
_CR_PER = 1 << 1
_CR_MER1 = 1 << 2
_CR_STRT = 1 << 16
_CR_OPTSTRT = 1 << 17
_CR_FSTPG = 1 << 18
_CR_EOPIE = 1 << 24
_CR_ERRIE = 1 << 25
_CR_OPTLOCK = 1 << 30
_CR_LOCK = 1 << 31
_CR_WRITABLE = 0x070407FF

_RDP_LEVEL_0 = 0xAA
_OPTIONS_RESET = (
    0xFFEFF8AA,  # OPTR
    0xFFFFFFFF,  # PCROP1SR, PCROP1ER: nothing
    0x00000000,
    0x000000FF,  # WRP1AR, WRP1BR: nothing, as the end is below the start
    0x000000FF,
)


@compiled
def _is_protected(state, page):
    """Whether a page lies in a programmed write-protection area, ends included."""
    for area in range(3, _OPTION_REGISTERS):
        option = state[_PROGRAMMED + area]
        if option & 0xFF <= page <= (option >> 16) & 0xFF:
            return True
    return False


@compiled
def _fail(state, memory, flags):
    """End an operation with error flags; a word that was waiting is forgotten."""
    state[_SR] |= flags
    if state[_CR] & _CR_FSTPG and flags != _SR_PGSERR:
        state[_SR] |= _SR_FASTERR
    if state[_CR] & _CR_ERRIE:
        state[_SR] |= _SR_OPERR
    forget_first_word(state, memory)
    state[_ROW] = -1


@compiled
def forget_first_word(state, memory):
    """A first word whose second does not follow was never programmed."""
    first = state[_FIRST]
    if first >= 0:
        for index in range(4):
            memory[first + index] = (state[_FIRST_OLD] >> (8 * index)) & 0xFF
        mark_dirty(state, first, first + 4)
        state[_FIRST] = -1


@compiled
def _succeed(state):
    if state[_CR] & _CR_EOPIE:
        state[_SR] |= _SR_EOP


@compiled
def _start(state, memory):
    """CR.STRT was written: erase what CR selects."""
    cr = state[_CR]
    selected = cr & (_CR_PG | _CR_PER | _CR_MER1 | _CR_FSTPG)
    if selected == 0:
        return
    if (selected != _CR_PER and selected != _CR_MER1) or state[_SR] & _SR_ERRORS:
        _fail(state, memory, _SR_PGSERR)
        return
    first = (cr >> 3) & 0xFF if selected == _CR_PER else 0
    end = first + 1 if selected == _CR_PER else sector_count(state)
    if end > sector_count(state):
        return  # no such page
    for page in range(first, end):
        if _is_protected(state, page) or refuses(state):
            _fail(state, memory, _SR_WRPERR)
            return
    if completes(state):
        for page in range(first, end):
            erase_sector(state, memory, page)
        state[_MASS_ERASED] = selected == _CR_MER1
        _succeed(state)


@compiled
def read_register(state, offset):
    """Value of the register at `offset`; the key registers read as 0."""
    if offset == ACR:
        return state[ACCESS_CONTROL]
    if offset == SR:
        return state[_SR] | (_SR_BSY if state[BUSY] else 0)
    if offset == CR:
        return state[_CR]
    if OPTR <= offset < OPTR + 4 * _OPTION_REGISTERS:
        return state[_OPTIONS + (offset - OPTR) // 4]
    return 0


@compiled
def write_register(state, memory, offset, value):
    """Write the register at `offset`."""
    if offset == ACR:
        _write_acr(state, value)
    elif offset == PDKEYR:
        take_key(state, _POWER_STAGE, value, _POWER_KEYS)
    elif offset == KEYR:
        unlock(state, _STAGE, value, KEYS, _CR, _CR_LOCK)
    elif offset == OPTKEYR and state[_CR] & _CR_LOCK == 0:
        unlock(state, _OPTION_STAGE, value, OPTION_KEYS, _CR, _CR_OPTLOCK)
    elif offset == SR:
        state[_SR] &= ~(value & _SR_CLEARABLE)
    elif offset == CR and state[_CR] & _CR_LOCK == 0 and state[BUSY] == 0:
        _write_cr(state, memory, value)
    elif OPTR <= offset < OPTR + 4 * _OPTION_REGISTERS and state[_CR] & _CR_OPTLOCK == 0:
        if offset == OPTR:  # the read protection level stays at 0
            value = (value & ~0xFF) | _RDP_LEVEL_0
        state[_OPTIONS + (offset - OPTR) // 4] = value


@compiled
def _write_acr(state, value):
    """A cache can be reset only while it is off; RUN_PD is behind a lock of its own."""
    keep = 0
    if state[ACCESS_CONTROL] & _ACR_ICEN:
        keep |= _ACR_ICRST
    if state[ACCESS_CONTROL] & _ACR_DCEN:
        keep |= _ACR_DCRST
    if state[_POWER_STAGE] != UNLOCKED:
        keep |= _ACR_RUN_PD
    kept = state[ACCESS_CONTROL] & keep
    set_access_control(state, kept | (value & _ACR_WRITABLE & ~keep))


@compiled
def _write_cr(state, memory, value):
    option_lock = state[_CR] & _CR_OPTLOCK
    state[_CR] = (value & _CR_WRITABLE) | option_lock
    if value & _CR_PG == 0:
        forget_first_word(state, memory)
    if value & _CR_FSTPG == 0:
        state[_ROW] = -1
    if value & _CR_OPTLOCK:
        state[_CR] |= _CR_OPTLOCK
        state[_OPTION_STAGE] = 0
    if value & _CR_LOCK:
        state[_CR] |= _CR_LOCK
        state[_STAGE] = 0
    elif value & _CR_STRT:
        _start(state, memory)
    elif value & _CR_OPTSTRT and option_lock == 0 and completes(state):
        for option in range(_OPTION_REGISTERS):
            state[_PROGRAMMED + option] = state[_OPTIONS + option]
        _succeed(state)


@compiled
def program(state, memory, offset, size, value):
    """What `size` bytes of flash become by a store, if the controller allows one.

    Sets the error flags; the contents are left to the caller.
    """
    cr = state[_CR]
    mode = cr & (_CR_PG | _CR_FSTPG | _CR_PER | _CR_MER1)
    if (
        cr & _CR_LOCK
        or (mode != _CR_PG and mode != _CR_FSTPG)
        or (mode == _CR_FSTPG and state[_MASS_ERASED] == 0)
        or state[_SR] & _SR_ERRORS
    ):
        _fail(state, memory, _SR_PGSERR)
    elif size != 4:
        _fail(state, memory, _SR_SIZERR)
    elif _is_protected(state, sector_at(state, offset)) or refuses(state):
        _fail(state, memory, _SR_WRPERR)
    elif mode == _CR_FSTPG:
        return _program_row(state, memory, offset, value)
    elif (state[_FIRST] < 0 and offset % 8 == 0) or (
        offset == state[_FIRST] and is_repeated(state)
    ):
        if state[BUSY] == 0:
            return _take_first_word(state, memory, offset, value)
    elif state[_FIRST] < 0 or offset != state[_FIRST] + 4:
        _fail(state, memory, _SR_PGAERR)
    else:
        return _take_second_word(state, memory, offset, value)
    return contents(memory, offset, size)


@compiled
def _take_first_word(state, memory, offset, value):
    if state[_FIRST] < 0:
        state[_FIRST] = offset
        state[_FIRST_OLD] = contents(memory, offset, 4)
    state[_FIRST_NEW] = value
    return cleared(state, _ERASED, offset, 4, value)


@compiled
def _take_second_word(state, memory, offset, value):
    """A double word must be erased before, unless it is to become all zeros."""
    old = contents(memory, offset, 4)
    is_erased = state[_FIRST_OLD] & old == _ERASED
    if not is_erased and (state[_FIRST_NEW] | value) != 0:
        _fail(state, memory, _SR_PROGERR)
        return old
    if not completes(state):
        forget_first_word(state, memory)
        return old
    state[_FIRST] = -1
    _succeed(state)
    return programmed(state, _ERASED, offset, 4, value)


@compiled
def _program_row(state, memory, offset, value):
    """Fast programming: a row's words in order, from its first to its last."""
    old = contents(memory, offset, 4)
    if offset != state[_ROW] and (state[_ROW] >= 0 or offset % _ROW_BYTES != 0):
        _fail(state, memory, _SR_PGAERR)
        return old
    if not completes(state):
        return old
    state[_ROW] = offset + 4
    if state[_ROW] % _ROW_BYTES == 0:
        state[_ROW] = -1
        _succeed(state)
    if offset % 8 == 0:
        return cleared(state, old, offset, 4, value)
    return programmed(state, old, offset, 4, value)


class FlashControllerL4(FlashInterface):
    """The interface of the STM32L4."""

    _family = sys.modules[__name__]
    _has_caches = True

    def _load_options(self) -> None:
        self.state[_PROGRAMMED : _PROGRAMMED + _OPTION_REGISTERS] = _OPTIONS_RESET
        self.state[_FIRST] = -1

    def _reset_registers(self) -> None:
        forget_first_word(self.state, self.memory.bytes)
        self.state[[_SR, _STAGE, _OPTION_STAGE, _POWER_STAGE, _MASS_ERASED]] = 0
        self.state[ACCESS_CONTROL] = _ACR_RESET
        self.state[_CR] = _CR_LOCK | _CR_OPTLOCK
        self.state[_ROW] = -1
        options = self.state[_PROGRAMMED : _PROGRAMMED + _OPTION_REGISTERS]
        self.state[_OPTIONS : _OPTIONS + _OPTION_REGISTERS] = options
