"""Where base registers point: the kind of memory of each page, for the hooks and for Python."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mcuq_lab.nucleosim.engine import context as layout
from mcuq_lab.nucleosim.engine.registers import Registers
from mcuq_lab.nucleosim.timing import Memory, Place, TimingModel


class Places:
    """Tells where registers of one engine point, as far as its timing model looks."""

    def __init__(self, timing: TimingModel, registers: Registers) -> None:
        self._registers = registers
        self._mask = timing.place_mask
        size = layout.MEMORY_PAGE_BYTES
        pages = np.full(1 << 32 - layout.MEMORY_PAGE_BITS, Memory.DEVICE, dtype=np.uint8)
        pages[: 0x4000_0000 // size] = Memory.SRAM
        for region in timing.memory.regions:
            pages[region.start // size : region.end // size] = region.memory
        self._pages = pages

    @property
    def pages_address(self) -> int:
        """Host address of the kinds of memory, a byte for each page of the address space."""
        return self._pages.ctypes.data

    def of(self, registers: Iterable[int]) -> tuple[Place, ...]:
        """Where these registers point now."""
        return tuple(self._place(register) for register in registers)

    def _place(self, register: int) -> Place:
        value = self._registers.read(register)
        memory = Memory(self._pages[value >> layout.MEMORY_PAGE_BITS])
        return Place(register, value & self._mask, memory)
