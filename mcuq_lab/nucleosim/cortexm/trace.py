"""Debug units of the processor: cycle counter (DWT) and breakpoints (FPB)."""

from __future__ import annotations

from mcuq_lab.nucleosim.cortexm.processor import Processor

_TRCENA = 1 << 24

_DWT_CTRL = 0x00
_DWT_CYCCNT = 0x04
_LAR = 0xFB0
_LSR = 0xFB4
_LOCK_KEY = 0xC5ACCE55
_LSR_LOCKED, _LSR_IMPLEMENTED = 1 << 1, 1 << 0
_CYCCNTENA = 1 << 0

_FP_CTRL = 0x00
_FP_COMP0 = 0x08
_FP_KEY = 1 << 1
_FP_REV_SHIFT = 28


class CycleCounter:
    """DWT: CYCCNT counts while DEMCR.TRCENA and DWT_CTRL.CYCCNTENA are set. No watchpoints act.

    With a software lock (ARM IHI 0029, B2.2.3: DWT_LAR, DWT_LSR), what the core writes is ignored
    until it has written the key. The debugger needs no key, and sees no lock.
    """

    def __init__(self, processor: Processor, comparators: int, has_lock: bool) -> None:
        self._processor = processor
        self._comparators = comparators
        self._has_lock = has_lock
        self.power_on()

    def power_on(self) -> None:
        """Debug reset: a system reset leaves this unit alone."""
        self._storage: dict[int, int] = {}
        self._locked = self._has_lock
        self._ctrl = 0
        self._value = 0
        self._since: int | None = None

    def read(self, offset: int, debugger: bool) -> int:
        """Value of a register."""
        if offset == _DWT_CTRL:
            return self._comparators << 28 | self._ctrl
        if offset == _LSR:
            seen = self._has_lock and not debugger
            return (_LSR_IMPLEMENTED | (_LSR_LOCKED if self._locked else 0)) if seen else 0
        if offset == _DWT_CYCCNT:
            self.update()
            return self._value
        return self._storage.get(offset, 0)

    def write(self, offset: int, value: int, debugger: bool) -> None:
        """Write a register."""
        if offset == _LAR:
            if self._has_lock and not debugger:
                self._locked = value != _LOCK_KEY
        elif self._locked and not debugger:
            return
        elif offset == _DWT_CTRL:
            self.update()
            self._ctrl = value & 0x0FFFFFFF
            self.update()
        elif offset == _DWT_CYCCNT:
            self.update()
            self._value = value
        else:
            self._storage[offset] = value

    def update(self) -> None:
        """Bring the counter up to now; to be called before and after an enable bit changes."""
        now = self._processor.machine.cycles
        if self._since is not None:
            self._value = self._value + now - self._since & 0xFFFFFFFF
        counting = self._ctrl & _CYCCNTENA and self._processor.demcr & _TRCENA
        self._since = now if counting else None


class Breakpoints:
    """FPB: breakpoints on code; no patching of literals.

    Revision 1 compares words below 0x20000000 and says which halfword; revision 2 has the whole
    address in its comparator (ARM DDI 0403, C1.11.5).
    """

    def __init__(self, processor: Processor, comparators: int, revision: int) -> None:
        self._processor = processor
        self._count = comparators
        self._revision = revision
        self.power_on()

    def power_on(self) -> None:
        """Debug reset: a system reset leaves this unit alone."""
        self._comparators = [0] * self._count
        self._enabled = False
        self._apply()

    def read(self, offset: int) -> int:
        """Value of a register."""
        if offset == _FP_CTRL:
            count = (self._count & 0xF) << 4 | (self._count & 0x70) << 8
            return self._revision - 1 << _FP_REV_SHIFT | count | self._enabled
        index = (offset - _FP_COMP0) // 4
        return self._comparators[index] if 0 <= index < self._count else 0

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        index = (offset - _FP_COMP0) // 4
        if offset == _FP_CTRL:
            if value & _FP_KEY:
                self._enabled = bool(value & 1)
        elif 0 <= index < self._count:
            self._comparators[index] = value
        self._apply()

    def _apply(self) -> None:
        addresses = set()
        for comparator in self._comparators if self._enabled else ():
            if comparator & 1 and self._revision > 1:
                addresses.add(comparator & ~1)
            elif comparator & 1:
                word = comparator & 0x1FFFFFFC
                addresses |= {word} if comparator >> 30 & 1 else set()
                addresses |= {word | 2} if comparator >> 31 & 1 else set()
        self._processor.machine.set_breakpoints(frozenset(addresses))
