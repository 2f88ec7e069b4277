"""What a core's cycle model assumes of the memory behind the buses."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryTiming:
    """Memory parameters in core cycles; the defaults are an STM32F4 at its reset clock.

    Zero wait states everywhere: at 16 MHz the flash of the family needs none (RM0402, flash read
    access latency), and code comes over ICode while data goes over DCode or the system bus, so
    that fetches and data accesses do not meet. A family's cache and wait states belong here.
    """

    fetch_fifo_words: int = 3
    """Words the prefetch unit holds; the core's, not the memory's (ARM KA103488664)."""
    fetch_latency_cycles: int = 2
    """From the fetch request to the word being ready to decode: AHB address and data phase."""
    store_after_load_stall_cycles: int = 0
    """Extra for an immediate-offset store right after a load. 0 on STM32F407 (measured, jnk0le);
    1 where the SRAM cannot turn from read to write at once."""


ZERO_WAIT_STATES = MemoryTiming()
