"""The order of an object file's sections, in which a linker places them; changed in place.

gcc emits functions in the order of the source, but variables in the reverse one. So files that are
compiled as one would have their constants in the wrong order, and an image would depend on what
was compiled together. This restores the order of files that are compiled one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from mcuq_lab.errors import BuildError

# ELF32, little-endian (System V ABI, chapter 4): fields of the header and of a section's header.
_FILE_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_SYMBOL_BYTES, _SYMBOL_SECTION = 16, struct.Struct("<14xH")
_RELOCATIONS = (4, 9)  # SHT_RELA, SHT_REL: sh_info is the section that they change
_SYMBOL_TABLE = 2
_GROUP_OR_MANY = (17, 18)  # SHT_GROUP, SHT_SYMTAB_SHNDX: hold numbers of sections, too
_ALLOCATED, _EXECUTABLE, _LINK_ORDER = 2, 4, 0x80  # flags; the last: unwinding tables
_FIRST_RESERVED = 0xFF00


def in_order_of_marks(elf: bytes, marks: Sequence[str]) -> bytes:
    """The object file with the constants of each source file where its own object would have them.

    Args:
        elf: a relocatable ELF32 file in little-endian order.
        marks: names of sections, each of one variable that ends a source file; in their order.

    Returns:
        The same with the headers of the blocks of sections that start at a mark turned round, so
        that the first file's block comes first. All else lies where it lay.

    Raises:
        BuildError: the file is not laid out as this expects.
    """
    header = _FILE_HEADER.unpack_from(elf)
    start, size, count, names_at = header[6], *header[11:14]
    if header[0][:6] != b"\x7fELF\x01\x01" or size != _SECTION.size or not count > 0:
        raise BuildError("A compiled file is no ELF32 object.")
    sections = [list(_SECTION.unpack_from(elf, start + size * i)) for i in range(count)]
    names = [_name(elf, sections[names_at][4] + section[0]) for section in sections]
    if any(section[1] in _GROUP_OR_MANY for section in sections):
        raise BuildError("A compiled file has groups of sections.")
    found = [names.index(mark) if mark in names else -1 for mark in reversed(marks)]
    if -1 in found or found != sorted(found):
        raise BuildError("The constants of files compiled as one do not lie as expected.")
    # Relocations move with their section: the linker takes a section when it meets either.
    movable = [
        index
        for index, section in enumerate(sections)
        if index >= found[0] and _holds_constants(sections, section)
    ]
    blocks = [
        [index for index in movable if first <= index < behind]
        for first, behind in pairwise([*found, count])
    ]
    return _renumbered(elf, sections, movable, [index for block in blocks[::-1] for index in block])


def _holds_constants(sections: Sequence[Sequence[int]], section: Sequence[int]) -> bool:
    """Whether it lies in memory without being code, or relocates such a section."""
    flags = (sections[section[7]] if section[1] in _RELOCATIONS else section)[2]
    return bool(flags & _ALLOCATED) and not flags & (_EXECUTABLE | _LINK_ORDER)


def _renumbered(
    elf: bytes, sections: list[list[int]], places: Sequence[int], members: Sequence[int]
) -> bytes:
    """The file with the section `members[i]` as number `places[i]`."""
    header = _FILE_HEADER.unpack_from(elf)
    number = list(range(len(sections)))
    for place, member in zip(places, members, strict=True):
        number[member] = place
    changed = bytearray(elf)
    for index, section in enumerate(sections):
        kind, offset, length = section[1], section[4], section[5]
        section[6] = number[section[6]]
        if kind in _RELOCATIONS:
            section[7] = number[section[7]]
        if kind == _SYMBOL_TABLE:
            for at in range(offset, offset + length, _SYMBOL_BYTES):
                (owner,) = _SYMBOL_SECTION.unpack_from(elf, at)
                if owner < _FIRST_RESERVED:
                    struct.pack_into("<H", changed, at + 14, number[owner])
        _SECTION.pack_into(changed, header[6] + _SECTION.size * number[index], *section)
    return bytes(changed)


def _name(elf: bytes, at: int) -> str:
    return elf[at : elf.index(b"\0", at)].decode()
