"""What a core's cycle model assumes of the memories behind the buses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Memory(IntEnum):
    """Kinds of memory that an access may meet; they differ in what it costs."""

    SRAM = 0
    """On the system bus; what an access is taken for when nothing is known of its address."""
    FLASH = 1
    CCM = 2
    """SRAM on the data bus of its own (F4's CCM data RAM): meets neither fetches nor the DMA."""
    TCM = 3
    """Tightly coupled, no wait and no cache."""
    AXI = 4
    """SRAM behind the data cache of a Cortex-M7."""
    DEVICE = 5
    SRAM2 = 6
    """A further block of SRAM on the system bus, with a port of its own on the bus matrix."""
    SRAM3 = 7

    # As a number, not by a name's hash, which is computed in Python: keys of blocks hold many.
    __hash__ = int.__hash__


@dataclass(frozen=True)
class Region:
    """Addresses [start, end) that one kind of memory answers."""

    start: int
    end: int
    memory: Memory


@dataclass(frozen=True)
class MemoryTiming:
    """Memory parameters in core cycles; the defaults are an STM32F4 at its reset clock.

    What depends on the history of accesses (wait states behind a cache) is not here but in
    `waits.py`: a block's cost is that of memories that answer at once.
    """

    regions: tuple[Region, ...] = (Region(0, 0x2000_0000, Memory.FLASH),)
    """Everything else is a device from 0x40000000 on, and SRAM below."""
    fetch_fifo_words: int = 3
    """Words the prefetch unit holds; the core's, not the memory's (ARM KA103488664)."""
    fetch_latency_cycles: int = 2
    """From the fetch request to the word being ready to decode: AHB address and data phase."""
    flash_line_bytes: int = 16
    """Read from the flash at once: 128 bits on an STM32F4 (ST RM0402 3.5). A fetch within the line
    before does not meet data reads."""
    store_after_load_stall_cycles: tuple[int, ...] = (0,) * len(Memory)
    """By kind of memory, extra for an immediate-offset store right after a load. 0 on STM32F407
    (measured, jnk0le); 1 where the memory cannot turn from read to write at once."""
    part_store_cycles: int = 1
    """Cortex-M7: that its store buffer needs for a byte or a halfword. 2 where memory with error
    correction is read and written back, as on STM32H743 (measured, jnk0le)."""

    @property
    def has_one_ram(self) -> bool:
        """Whether all RAM is of one kind, so that it need not be asked which of them is meant."""
        return all(region.memory in (Memory.FLASH, Memory.SRAM) for region in self.regions)

    def line_words(self, memory: Memory) -> int:
        """Words that a fetch from this kind of memory brings."""
        return self.flash_line_bytes // 4 if memory is Memory.FLASH else 1

    def at(self, address: int) -> Memory:
        """The kind of memory at an address."""
        for region in self.regions:
            if region.start <= address < region.end:
                return region.memory
        return Memory.DEVICE if address >= 0x4000_0000 else Memory.SRAM


ZERO_WAIT_STATES = MemoryTiming()
