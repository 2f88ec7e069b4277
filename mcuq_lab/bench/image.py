"""What an ELF file says of itself: symbols, loadable segments, bytes in flash and RAM."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mcuq_lab.bench.memory_map import Region

# An entry of the symbol table (System V ABI, chapter 4): name, value, size, info, other, section.
_SYMBOL = struct.Struct("<IIIBBH")
_FUNCTION = 2
_NAMED_KINDS = (0, 1, _FUNCTION)  # STT_NOTYPE, STT_OBJECT


@dataclass(frozen=True)
class Symbol:
    """Address and size of a function or an object; bit 0 of a function's address is cleared."""

    address: int
    size_bytes: int


@dataclass(frozen=True)
class Segment:
    """Bytes to be programmed at a flash address."""

    address: int
    data: bytes


@dataclass(frozen=True, eq=False)
class Image:
    """The contents of an ELF file.

    Attributes:
        symbols: by name; local symbols only where no global one has the name.
        segments: what goes into flash, ascending, .data's initial values included.
        sections: allocated sections: name to (address, bytes).
    """

    symbols: Mapping[str, Symbol]
    segments: tuple[Segment, ...]
    sections: Mapping[str, tuple[int, int]]

    @property
    def flash_end(self) -> int:
        """The first flash address behind the image."""
        return max(segment.address + len(segment.data) for segment in self.segments)

    def largest_symbols(self, region: Region, count: int) -> list[tuple[str, int]]:
        """Names and bytes of the `count` largest symbols in `region`, largest first."""
        inside = [
            (name, symbol.size_bytes)
            for name, symbol in self.symbols.items()
            if region.start <= symbol.address < region.end and symbol.size_bytes
        ]
        return sorted(inside, key=lambda item: (-item[1], item[0]))[:count]

    def read(self, symbol: str) -> bytes:
        """The initial contents of an object in flash; KeyError if it is not there."""
        place = self.symbols[symbol]
        for segment in self.segments:
            offset = place.address - segment.address
            if 0 <= offset <= len(segment.data) - place.size_bytes:
                return segment.data[offset : offset + place.size_bytes]
        raise KeyError(symbol)


def read_image(elf: bytes) -> Image:
    """Reads an Armv7-M ELF file."""
    file = ELFFile(io.BytesIO(elf))
    segments = tuple(
        Segment(segment["p_paddr"], segment.data())
        for segment in file.iter_segments("PT_LOAD")
        if segment["p_filesz"]
    )
    sections = {
        section.name: (section["sh_addr"], section["sh_size"])
        for section in file.iter_sections()
        if section["sh_flags"] & 2  # SHF_ALLOC
    }
    return Image(
        symbols=_symbols(file),
        segments=tuple(sorted(segments, key=lambda segment: segment.address)),
        sections=sections,
    )


def _symbols(file: ELFFile) -> dict[str, Symbol]:
    table = file.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        return {}
    names = table.stringtable.data()
    symbols: dict[str, Symbol] = {}
    # Local symbols come first in a symbol table, so global ones win. Not by `iter_symbols`, which
    # takes longer for this than the linker for the whole image.
    for name_at, value, size_bytes, info, _, _ in _SYMBOL.iter_unpack(table.data()):
        kind = info & 0xF
        if name_at and kind in _NAMED_KINDS:
            name = names[name_at : names.index(b"\0", name_at)].decode()
            symbols[name] = Symbol(value & ~1 if kind == _FUNCTION else value, size_bytes)
    return symbols
