"""Registers of the Cortex-M7's caches and tightly coupled memories (ARM DDI 0489, 3).

The caches hold no data of their own here: memory is always what was written last, as software sees
it that keeps its caches clean. Which cache is on decides what accesses cost, so that is kept.
"""

from __future__ import annotations

from mcuq_lab.nucleosim.chip import Core

_CLIDR = 0xD78
_CTR = 0xD7C
_CCSIDR = 0xD80
_CSSELR = 0xD84
_FIRST_MAINTENANCE = 0xF50  # ICIALLU ... BPIALL
_LAST_MAINTENANCE = 0xF78
_ITCMCR = 0xF90
_DTCMCR = 0xF94
_AHBPCR = 0xF98
_CACR = 0xF9C
_AHBSCR = 0xFA0
_ABFSR = 0xFA8

_LINE_BYTES = 32
_INSTRUCTION_WAYS, _DATA_WAYS = 2, 4
_WRITE_THROUGH_BACK_ALLOCATE = 0xF << 28
_LEVEL_1_SPLIT = 0x09000003  # CLIDR: instruction and data caches at level 1, coherent there
_CACHE_TYPE = 0x8303C003  # CTR: lines of eight words
_TCM_ENABLE = 1 << 0


class CacheRegisters:
    """Those registers by offset from 0xE000E000; the enable bits are in CCR, not here."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.reset()

    def reset(self) -> None:
        """System reset; the tightly coupled memories are enabled (ST AN4667)."""
        self._words = {
            _CSSELR: 0,
            _ITCMCR: _tcm(self._core.itcm_bytes),
            _DTCMCR: _tcm(self._core.dtcm_bytes),
            _AHBPCR: 0,
            _CACR: 0,
            _AHBSCR: 0,
            _ABFSR: 0,
        }

    def holds(self, offset: int) -> bool:
        """Whether a register is one of these."""
        is_maintenance = _FIRST_MAINTENANCE <= offset <= _LAST_MAINTENANCE
        return offset in self._words or offset in (_CLIDR, _CTR, _CCSIDR) or is_maintenance

    def read(self, offset: int) -> int:
        """Value of a register; those of cache maintenance read as 0."""
        if offset == _CLIDR:
            return _LEVEL_1_SPLIT
        if offset == _CTR:
            return _CACHE_TYPE
        if offset == _CCSIDR:
            return self._size()
        return self._words.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Write a register. Maintenance by set and way or by address needs nothing done."""
        if offset in (_ITCMCR, _DTCMCR):
            size = self._words[offset] & 0x78
            self._words[offset] = size | value & 0x7
        elif offset == _CSSELR:
            self._words[offset] = value & 1
        elif offset in self._words and offset != _ABFSR:
            self._words[offset] = value

    def _size(self) -> int:
        """CCSIDR of the cache that CSSELR selects: 0 is the data cache, 1 the instruction cache."""
        instruction = bool(self._words[_CSSELR])
        ways = _INSTRUCTION_WAYS if instruction else _DATA_WAYS
        size = self._core.icache_bytes if instruction else self._core.dcache_bytes
        sets = size // (ways * _LINE_BYTES)
        return _WRITE_THROUGH_BACK_ALLOCATE | (sets - 1) << 13 | (ways - 1) << 3 | 1


def _tcm(size_bytes: int) -> int:
    """ITCMCR or DTCMCR of a memory: SZ counts powers of two, 3 for 4 KB."""
    if not size_bytes:
        return 0
    return (size_bytes.bit_length() - 10) << 3 | _TCM_ENABLE
