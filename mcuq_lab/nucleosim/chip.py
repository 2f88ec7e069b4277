"""What distinguishes one simulated board from another, read from `chips/<board>.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mcuq_lab.nucleosim.errors import NucleoSimError, UnknownBoardError
from mcuq_lab.nucleosim.memory_waits import WaitRules
from mcuq_lab.nucleosim.timing import Memory, MemoryTiming, Region
from mcuq_lab.nucleosim.timing.waits import Cache

CHIPS_DIR = Path(__file__).resolve().parent / "chips"


@dataclass(frozen=True)
class Core:
    """Processor: timing model, identification registers, debug resources, caches.

    `rom_table` is where the chip's own ROM table lies, on the core's private bus. Sizes are 0 where
    the core has no such memory.
    """

    name: str
    cpuid: int
    dp_idr: int
    ap_idr: int
    rom_table_part: int
    breakpoints: int
    watchpoints: int
    rom_table: int = 0xE00FF000
    itcm_bytes: int = 0
    dtcm_bytes: int = 0
    icache_bytes: int = 0
    dcache_bytes: int = 0


@dataclass(frozen=True)
class AccessPort:
    """A further access port behind the debug port, after the core's own.

    `base` is its BASE register. An address on it, plus `offset`, is the address for the core.
    """

    idr: int
    base: int
    offset: int = 0


@dataclass(frozen=True)
class Flash:
    """Main flash: `sector_bytes` in address order; also visible at `alias`, if there is one."""

    start: int
    sector_bytes: tuple[int, ...]
    controller: str
    controller_base: int
    alias: int | None = None

    @property
    def starts(self) -> tuple[int, ...]:
        """Every address at which the flash begins."""
        return (self.start,) if self.alias is None else (self.start, self.alias)

    @property
    def size_bytes(self) -> int:
        """Bytes of all sectors together."""
        return sum(self.sector_bytes)


@dataclass(frozen=True)
class Ram:
    """One SRAM region, also visible at `alias` if there is one.

    `memory` is its kind to the cycle model; `executable` says whether the core can fetch
    instructions from it.
    """

    start: int
    size_bytes: int
    memory: Memory = Memory.SRAM
    alias: int | None = None
    executable: bool = True

    @property
    def starts(self) -> tuple[int, ...]:
        """Every address at which the region begins."""
        return (self.start,) if self.alias is None else (self.start, self.alias)


@dataclass(frozen=True)
class RegisterBlock:
    """A peripheral: `model` names its behaviour ("storage" keeps what is written to it).

    `reset` maps the offset of a register to its value after reset; the others reset to 0.
    """

    name: str
    model: str
    start: int
    size_bytes: int
    reset: Mapping[int, int]


@dataclass(frozen=True)
class Chip:
    """A simulated board and the chip on it.

    `clock` holds the limits of the clocks, by the names that the family's clock control knows.
    """

    id: str
    name: str
    board_id: str
    pyocd_target: str
    core: Core
    flash: Flash
    clock: Mapping[str, tuple[int, ...]]
    rams: tuple[Ram, ...]
    peripherals: tuple[RegisterBlock, ...]
    memory_timing: MemoryTiming
    waits: WaitRules
    access_ports: tuple[AccessPort, ...] = ()

    @property
    def cached_ram(self) -> tuple[int, int] | None:
        """[start, end) of the first RAM behind the core's data cache, neighbours joined."""
        cached = sorted(
            (ram.start, ram.start + ram.size_bytes) for ram in self.rams if ram.memory is Memory.AXI
        )
        if not cached:
            return None
        first, end = cached[0]
        for start, behind in cached[1:]:
            end = behind if start == end else end
        return first, end


def board_ids() -> tuple[str, ...]:
    """Ids of the boards that there is a description of, such as `nucleo-f412zg`."""
    return tuple(sorted(path.stem for path in CHIPS_DIR.glob("*.toml")))


@cache
def load_chip(board: str) -> Chip:
    """The description of `board`.

    Raises:
        UnknownBoardError: there is no such board.
        NucleoSimError: its file lacks an entry, or has one that is not known.
    """
    if board not in board_ids():
        raise UnknownBoardError(
            f"no simulated board {board!r}; known: {', '.join(board_ids())}. "
            "Use one of these after 'sim:' in the probe's unique id."
        )
    path = CHIPS_DIR / f"{board}.toml"
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return _chip(board, data)
    except (KeyError, TypeError) as error:
        raise NucleoSimError(
            f"{path}: wrong or missing entry: {error}. Correct the file."
        ) from error


def _chip(board: str, data: dict[str, Any]) -> Chip:
    flash = data.pop("flash")
    sectors = tuple(size for count, size in flash.pop("sectors") for _ in range(count))
    flash = Flash(sector_bytes=sectors, **flash)
    rams = tuple(_ram(**ram) for ram in data.pop("ram"))
    return Chip(
        id=board,
        core=Core(**data.pop("core")),
        flash=flash,
        clock={name: tuple(limits) for name, limits in data.pop("clock").items()},
        rams=rams,
        access_ports=tuple(AccessPort(**port) for port in data.pop("access_port", ())),
        peripherals=tuple(
            _register_block(name, entry) for name, entry in data.pop("peripheral").items()
        ),
        memory_timing=_memory_timing(flash, rams, **data.pop("timing", {})),
        waits=_wait_rules(**data.pop("waits")),
        **data,
    )


def _ram(memory: str = "sram", **entry: Any) -> Ram:
    return Ram(memory=Memory[memory.upper()], **entry)


def _memory_timing(
    flash: Flash,
    rams: tuple[Ram, ...],
    store_after_load_stall_cycles: Mapping[str, int] | None = None,
    **parameters: int,
) -> MemoryTiming:
    """What the cycle model is told of the memories; parameters by kind of memory by its name."""
    stalls = [0] * len(Memory)
    for name, cycles in (store_after_load_stall_cycles or {}).items():
        stalls[Memory[name.upper()]] = cycles
    return MemoryTiming(
        regions=(
            *(
                Region(start, start + ram.size_bytes, ram.memory)
                for ram in rams
                for start in ram.starts
            ),
            *(Region(start, start + flash.size_bytes, Memory.FLASH) for start in flash.starts),
        ),
        store_after_load_stall_cycles=tuple(stalls),
        **parameters,
    )


def _wait_rules(
    instruction_cache: Mapping[str, int], data_cache: Mapping[str, int], **rules: int
) -> WaitRules:
    return WaitRules(
        instruction_cache=Cache(**instruction_cache), data_cache=Cache(**data_cache), **rules
    )


def _register_block(name: str, entry: dict[str, Any]) -> RegisterBlock:
    reset = {int(offset, 0): value for offset, value in entry.pop("reset", {}).items()}
    return RegisterBlock(
        name=name,
        model=entry.pop("model", "storage"),
        size_bytes=entry.pop("size_bytes", 0x400),
        reset=reset,
        **entry,
    )
