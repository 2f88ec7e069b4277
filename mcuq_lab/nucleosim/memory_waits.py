"""How long a chip's memories let the core wait, at the wait states and with the caches set now."""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.nucleosim.timing.waits import NO_WAITS, Cache, CodeWaits, DataWaits, Waits


@dataclass(frozen=True)
class WaitRules:
    """What a chip has between its core and its flash.

    Attributes:
        line_bytes: width of a flash read.
        instruction_cache, data_cache: a flash accelerator's, or the core's own.
        bus_cycles: of a read that misses, beyond the wait states: the way through an AXI bus.
            0 where the core sits at the flash: then nothing waits without wait states.
        uncached_line_bytes: what the core fetches at once while the cache is off, where that is
            less than a line.
    """

    line_bytes: int
    instruction_cache: Cache
    data_cache: Cache
    bus_cycles: int = 0
    uncached_line_bytes: int | None = None


@dataclass(frozen=True)
class WaitSettings:
    """What firmware or debugger have set: in the flash interface, or in the core's CCR.

    `cycles_per_bus_cycle` is the core's clock over that of the bus to the flash.
    """

    wait_states: int
    prefetch: bool
    instruction_cache: bool
    data_cache: bool
    cycles_per_bus_cycle: int = 1


def waits_of(
    rules: WaitRules,
    settings: WaitSettings,
    flash: tuple[int, int],
    cached_ram: tuple[int, int] | None = None,
) -> Waits:
    """The waits of code and data in a flash, and of data in RAM behind the core's data cache.

    Args:
        flash, cached_ram: address ranges [start, end).
    """
    bus_cycles = settings.wait_states + rules.bus_cycles
    miss_cycles = bus_cycles * settings.cycles_per_bus_cycle
    if miss_cycles == 0:
        return NO_WAITS
    line_bytes = rules.line_bytes
    if not settings.instruction_cache:
        line_bytes = rules.uncached_line_bytes or line_bytes
    code = CodeWaits(
        start=flash[0],
        end=flash[1],
        line_bytes=line_bytes,
        miss_cycles=miss_cycles,
        # The line that follows is read while the core is busy with the one before.
        prefetch_cycles=miss_cycles + 1 if settings.prefetch else None,
        cache=rules.instruction_cache if settings.instruction_cache else None,
    )
    ram = None
    if cached_ram is not None and settings.data_cache:
        # A line is brought in for a store too, but the store buffer lets the core go on.
        ram_cycles = rules.bus_cycles * settings.cycles_per_bus_cycle
        ram = DataWaits(*cached_ram, read_miss_cycles=ram_cycles, write_miss_cycles=0)
    return Waits(
        code=code,
        data=(DataWaits(*flash, read_miss_cycles=miss_cycles),),
        cached_ram=ram,
        data_cache=rules.data_cache if settings.data_cache else None,
    )
