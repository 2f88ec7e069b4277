"""Where flash and RAM lie: pyOCD's memory map of the target, and the linker script made from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from string import Template
from typing import TYPE_CHECKING

from mcuq_lab.board import BOARDS_DIR, Board
from mcuq_lab.errors import ConfigError

if TYPE_CHECKING:
    from pyocd.core.memory_map import MemoryRegion, MemoryType

LINKER_TEMPLATE = BOARDS_DIR / "common" / "image.ld.in"

# Far larger than any microcontroller's memory, and within its region of the Armv7-M address map.
_ROOMY_BYTES = 0x1000_0000


@dataclass(frozen=True)
class Region:
    """A contiguous range of memory."""

    name: str
    start: int
    length_bytes: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.start + self.length_bytes


@dataclass(frozen=True)
class MemoryMap:
    """The two regions that an image is linked into."""

    flash: Region
    ram: Region

    def roomy(self) -> MemoryMap:
        """The same addresses without a limit, to learn how much an image would need."""
        return MemoryMap(
            replace(self.flash, length_bytes=_ROOMY_BYTES),
            replace(self.ram, length_bytes=_ROOMY_BYTES),
        )


def memory_map(board: Board) -> MemoryMap:
    """Flash and RAM of `board`, from pyOCD and, where pyOCD has a gap, from board.toml.

    Neighbouring flash regions are one: pyOCD splits flash wherever the sector size changes.

    Raises:
        ConfigError: pyOCD has no such target built in, or the target has no such region.
    """
    from pyocd.core.memory_map import MemoryType  # slow to import, as all of pyOCD
    from pyocd.target import TARGET

    target = TARGET.get(board.pyocd_target)
    if target is None:
        raise ConfigError(
            f"pyOCD has no target '{board.pyocd_target}' built in (board '{board.id}'). Targets "
            f"that come as a CMSIS pack ('pyocd pack install {board.pyocd_target}') are not "
            f"supported; take a board whose target 'pyocd list --targets' shows as builtin."
        )
    regions = tuple(target.MEMORY_MAP.regions)
    flash = _merge_upwards(
        _pick(board, board.flash_region, regions, MemoryType.FLASH),
        (region for region in regions if region.type == MemoryType.FLASH),
    )
    for extra in board.extra_regions:
        if extra.name == board.ram_region:
            return MemoryMap(flash, Region(extra.name, extra.start, extra.length_bytes))
    ram = _pick(board, board.ram_region, regions, MemoryType.RAM)
    return MemoryMap(flash, Region(ram.name, ram.start, ram.length))


def linker_script(memory: MemoryMap, stack_bytes: int) -> str:
    """The linker script for an image in `memory`."""
    return Template(LINKER_TEMPLATE.read_text()).substitute(
        flash_start=f"0x{memory.flash.start:08X}",
        flash_bytes=memory.flash.length_bytes,
        ram_start=f"0x{memory.ram.start:08X}",
        ram_bytes=memory.ram.length_bytes,
        stack_bytes=stack_bytes,
    )


def _pick(
    board: Board, name: str, regions: Iterable[MemoryRegion], kind: MemoryType
) -> MemoryRegion:
    of_kind = {region.name: region for region in regions if region.type == kind}
    if name not in of_kind:
        raise ConfigError(
            f"Board '{board.id}' names the {kind.name} region '{name}', but pyOCD's target "
            f"'{board.pyocd_target}' has: {', '.join(of_kind) or 'none'}. "
            f"Correct its board.toml, or add the region there as an extra region."
        )
    return of_kind[name]


def _merge_upwards(first: MemoryRegion, regions: Iterable[MemoryRegion]) -> Region:
    merged = Region(first.name, first.start, first.length)
    for region in sorted(regions, key=lambda region: region.start):
        if region.start == merged.end:
            merged = replace(merged, length_bytes=merged.length_bytes + region.length)
    return merged
