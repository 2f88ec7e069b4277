"""Flash interface of the STM32H742, H743 and H753: two banks, flash words of 32 bytes (RM0433, 4).

Each bank has registers of its own and a write buffer for one flash word. Stores fill the buffer;
the word is programmed when all its bytes are there, or when CR.FW is written, which leaves the rest
as ones. What is stored shows in the memory at once, and is taken back if the word is given up.

Not modelled: error correction (a word that is programmed twice reads as the AND of both, without
the errors that silicon reports), CRC, secure and read-protected areas, swapping of banks, and
ACR.WRHIGHFREQ beyond its register.
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
    cleared,
    completes,
    contents,
    count_program,
    erase_sector,
    mark_dirty,
    refuses,
    sector_at,
    sector_count,
    set_access_control,
    unlock,
)

# Registers, by offset from that of the first bank; those of the second follow at 0x100, and
# whatever both share answers at both places.
ACR = 0x00
KEYR = 0x04
OPTKEYR = 0x08
CR = 0x0C
SR = 0x10
CCR = 0x14
OPTCR = 0x18
OPTSR_CUR = 0x1C
OPTSR_PRG = 0x20
WPSN_CUR = 0x38
WPSN_PRG = 0x3C
BOOT_CUR = 0x40
BOOT_PRG = 0x44
BANK_2 = 0x100

# Words of the state
_OPTCR = FAMILY
_OPTION_STAGE = FAMILY + 1  # of the keys that open the option bytes
_OPTSR_CUR = FAMILY + 2
_OPTSR_PRG = FAMILY + 3
_BOOT_CUR = FAMILY + 4
_BOOT_PRG = FAMILY + 5
_BANKS = FAMILY + 6  # _BANK_WORDS words for each
# Words of a bank
_BANK_WORDS = 16
_STAGE = 0  # of the keys that open its CR
_CR = 1
_SR = 2
_WPSN_CUR = 3
_WPSN_PRG = 4
_FILLING = 5  # offset of the flash word in the write buffer, or -1
_FILLED = 6  # a bit for each byte of it
_SAVED = 7  # its contents before, in 4 words

_WORD_BYTES = 32
_ALL_FILLED = (1 << _WORD_BYTES) - 1

_ACR_RESET = 0x37  # seven wait states
_ACR_WRITABLE = 0x3F

_CR_LOCK = 1 << 0
_CR_PG = 1 << 1
_CR_SER = 1 << 2
_CR_BER = 1 << 3
_CR_FW = 1 << 6
_CR_START = 1 << 7
_CR_SNB_SHIFT = 8
_CR_RESET = 0x31  # PSIZE 64 bits, LOCK
_CR_WRITABLE = 0x0FEF873E  # all but START, FW, LOCK

_SR_BSY = 1 << 0
_SR_WBNE = 1 << 1
_SR_QW = 1 << 2
_SR_EOP = 1 << 16
_SR_WRPERR = 1 << 17
_SR_PGSERR = 1 << 18
_SR_STRBERR = 1 << 19
_SR_INCERR = 1 << 21
_SR_CLEARABLE = 0x0FEF0000

_OPTCR_LOCK = 1 << 0
_OPTCR_START = 1 << 1
_OPTCR_MER = 1 << 4
_OPTSR_RESET = 0x1BC6AAF0  # read protection level 0, banks not swapped
_OPTSR_RDP = 0xFF00
_OPTSR_SWAP_BANK = 1 << 31
_BOOT_RESET = 0x1FF00800  # BOOT_ADD1, BOOT_ADD0: system memory, flash at 0x08000000
_BOOT_ADDRESS_UNIT = 1 << 16
_WPSN_RESET = 0xFF


@compiled
def _bank_sectors(state):
    return sector_count(state) // 2


@compiled
def _is_protected(state, sector):
    """Whether a sector, counted through both banks, is write-protected (its WRPSn bit is clear)."""
    per_bank = _bank_sectors(state)
    words = _BANKS + sector // per_bank * _BANK_WORDS
    return (state[words + _WPSN_CUR] >> (sector % per_bank)) & 1 == 0


@compiled
def _begin_word(state, memory, bank, word):
    """Open the write buffer for the flash word at offset `word`."""
    state[bank + _FILLING] = word
    state[bank + _FILLED] = 0
    for index in range(4):
        state[bank + _SAVED + index] = contents(memory, word + 8 * index, 8)


@compiled
def _give_up_word(state, memory, bank):
    """Empty the write buffer; the flash is as it was before."""
    word = state[bank + _FILLING]
    if word < 0:
        return
    for at in range(_WORD_BYTES):
        memory[word + at] = (state[bank + _SAVED + at // 8] >> (8 * (at % 8))) & 0xFF
    mark_dirty(state, word, word + _WORD_BYTES)
    state[bank + _FILLING] = -1


@compiled
def _finish_word(state, memory, bank):
    """Program the flash word in the write buffer; whether that came to its end."""
    if not completes(state):
        _give_up_word(state, memory, bank)
        return False
    state[bank + _FILLING] = -1
    state[bank + _SR] |= _SR_EOP
    count_program(state)
    return True


@compiled
def _erase(state, memory, bank, first, end):
    """Erase sectors [first, end), counted through both banks; errors show in `bank`."""
    for sector in range(first, end):
        if _is_protected(state, sector) or refuses(state):
            state[bank + _SR] |= _SR_WRPERR
            return
    if not completes(state):
        return
    for sector in range(first, end):
        erase_sector(state, memory, sector)
    state[bank + _SR] |= _SR_EOP


@compiled
def _start(state, memory, bank):
    """CR.START was written: erase what CR selects."""
    cr = state[bank + _CR]
    per_bank = _bank_sectors(state)
    first = 0 if bank == _BANKS else per_bank
    if cr & _CR_BER:
        _erase(state, memory, bank, first, first + per_bank)
    elif cr & _CR_SER:
        first += (cr >> _CR_SNB_SHIFT) & 7
        _erase(state, memory, bank, first, first + 1)
    else:
        state[bank + _SR] |= _SR_PGSERR


@compiled
def _write_cr(state, memory, bank, value):
    state[bank + _CR] = value & _CR_WRITABLE
    if value & _CR_LOCK:
        state[bank + _CR] |= _CR_LOCK
        state[bank + _STAGE] = 0
        return
    if value & _CR_FW and state[bank + _FILLING] >= 0:
        _finish_word(state, memory, bank)
    if value & _CR_START:
        _start(state, memory, bank)


@compiled
def _write_optcr(state, memory, value):
    state[_OPTCR] = 0
    if value & _OPTCR_START:
        # The read protection level stays at 0, and the banks where they are.
        kept = _OPTSR_RDP | _OPTSR_SWAP_BANK
        state[_OPTSR_CUR] = (state[_OPTSR_PRG] & ~kept) | (state[_OPTSR_CUR] & kept)
        state[_BOOT_CUR] = state[_BOOT_PRG]
        for bank in (_BANKS, _BANKS + _BANK_WORDS):
            state[bank + _WPSN_CUR] = state[bank + _WPSN_PRG]
    elif value & _OPTCR_MER:
        for bank in (_BANKS, _BANKS + _BANK_WORDS):
            if state[bank + _CR] & _CR_LOCK == 0:
                state[bank + _CR] |= _CR_BER
                _start(state, memory, bank)
    elif value & _OPTCR_LOCK:
        state[_OPTCR] |= _OPTCR_LOCK
        state[_OPTION_STAGE] = 0


@compiled
def _sr(state, bank):
    flags = state[bank + _SR]
    if state[bank + _FILLING] >= 0:
        flags |= _SR_WBNE
    return flags | (_SR_BSY | _SR_QW if state[BUSY] else 0)


@compiled
def read_register(state, offset):
    """Value of the register at `offset`; the key registers read as 0."""
    bank = _BANKS + _BANK_WORDS if offset >= BANK_2 else _BANKS
    register = offset & (BANK_2 - 1)
    if register == ACR:
        return state[ACCESS_CONTROL]
    if register == SR:
        return _sr(state, bank)
    if register == CR:
        return state[bank + _CR]
    if register == OPTCR:
        return state[_OPTCR]
    if register == OPTSR_CUR:
        return state[_OPTSR_CUR]
    if register == OPTSR_PRG:
        return state[_OPTSR_PRG]
    if register == WPSN_CUR:
        return state[bank + _WPSN_CUR]
    if register == WPSN_PRG:
        return state[bank + _WPSN_PRG]
    if register == BOOT_CUR:
        return state[_BOOT_CUR]
    if register == BOOT_PRG:
        return state[_BOOT_PRG]
    return 0


@compiled
def write_register(state, memory, offset, value):
    """Write the register at `offset`."""
    bank = _BANKS + _BANK_WORDS if offset >= BANK_2 else _BANKS
    register = offset & (BANK_2 - 1)
    options_open = state[_OPTCR] & _OPTCR_LOCK == 0
    if register == ACR:
        set_access_control(state, value & _ACR_WRITABLE)
    elif register == KEYR:
        unlock(state, bank + _STAGE, value, KEYS, bank + _CR, _CR_LOCK)
    elif register == OPTKEYR:
        unlock(state, _OPTION_STAGE, value, OPTION_KEYS, _OPTCR, _OPTCR_LOCK)
    elif register == CCR:
        state[bank + _SR] &= ~(value & _SR_CLEARABLE)
    elif register == CR and state[bank + _CR] & _CR_LOCK == 0 and state[BUSY] == 0:
        _write_cr(state, memory, bank, value)
    elif register == OPTCR and options_open and state[BUSY] == 0:
        _write_optcr(state, memory, value)
    elif register == OPTSR_PRG and options_open:
        state[_OPTSR_PRG] = value
    elif register == WPSN_PRG and options_open:
        state[bank + _WPSN_PRG] = value & _WPSN_RESET
    elif register == BOOT_PRG and options_open:
        state[_BOOT_PRG] = value


@compiled
def program(state, memory, offset, size, value):
    """What `size` bytes of flash become by a store, if the controller allows one.

    Sets the error flags; these bytes are left to the caller, others of the flash word are not.
    """
    bank = _BANKS if offset < len(memory) // 2 else _BANKS + _BANK_WORDS
    old = contents(memory, offset, size)
    if state[bank + _CR] & (_CR_PG | _CR_LOCK) != _CR_PG:
        state[bank + _SR] |= _SR_PGSERR
        return old
    if state[BUSY] != 0:
        return old
    word = offset & -_WORD_BYTES
    if state[bank + _FILLING] < 0:
        if _is_protected(state, sector_at(state, offset)) or refuses(state):
            state[bank + _SR] |= _SR_WRPERR
            return old
        _begin_word(state, memory, bank, word)
    if state[bank + _FILLING] != word or offset + size > word + _WORD_BYTES:
        state[bank + _SR] |= _SR_INCERR
        _give_up_word(state, memory, bank)
        return contents(memory, offset, size)
    filled = ((1 << size) - 1) << (offset - word)
    if state[bank + _FILLED] & filled:
        state[bank + _SR] |= _SR_STRBERR
        return old
    state[bank + _FILLED] |= filled
    if state[bank + _FILLED] == _ALL_FILLED and not _finish_word(state, memory, bank):
        return old
    return cleared(state, old, offset, size, value)


@compiled
def _give_up_words(state, memory):
    for bank in (_BANKS, _BANKS + _BANK_WORDS):
        _give_up_word(state, memory, bank)


class FlashControllerH7(FlashInterface):
    """The interface of the STM32H743."""

    _family = sys.modules[__name__]

    def _load_options(self) -> None:
        self.state[[_OPTSR_CUR, _OPTSR_PRG]] = _OPTSR_RESET
        self.state[[_BOOT_CUR, _BOOT_PRG]] = _BOOT_RESET
        for bank in (_BANKS, _BANKS + _BANK_WORDS):
            self.state[[bank + _WPSN_CUR, bank + _WPSN_PRG]] = _WPSN_RESET
            self.state[bank + _FILLING] = -1

    def _reset_registers(self) -> None:
        _give_up_words(self.state, self.memory.bytes)
        self.state[ACCESS_CONTROL] = _ACR_RESET
        self.state[_OPTCR] = _OPTCR_LOCK
        self.state[_OPTION_STAGE] = 0
        for bank in (_BANKS, _BANKS + _BANK_WORDS):
            self.state[[bank + _STAGE, bank + _SR]] = 0
            self.state[bank + _CR] = _CR_RESET

    @property
    def boot_address(self) -> int:
        """BOOT_ADD0, the one that counts with the BOOT pin low (RM0433, boot configuration)."""
        return (int(self.state[_BOOT_CUR]) & 0xFFFF) * _BOOT_ADDRESS_UNIT
