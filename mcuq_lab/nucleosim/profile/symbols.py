"""What an ELF file tells of addresses: functions, source lines, and the code itself."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mcuq_lab.nucleosim.errors import NucleoSimError

# Mapping symbols of the ELF for the Arm architecture: what follows is Thumb code, or constants.
_CODE, _DATA = "$t", "$d"
_EXECUTABLE = 0x4  # SHF_EXECINSTR


@dataclass(frozen=True)
class Function:
    """Code with a name, static functions included, at addresses [start, end)."""

    name: str
    start: int
    end: int


class Symbols:
    """Functions and lines of one ELF file; worked out when they are first asked for."""

    def __init__(self, elf: Path | str | bytes) -> None:
        """`elf` is the file's name, or what is in it.

        Raises:
            NucleoSimError: there is no such file, or it is no ELF file.
        """
        self._name = "the ELF file" if isinstance(elf, bytes) else str(elf)
        try:
            contents = elf if isinstance(elf, bytes) else Path(elf).read_bytes()
            self._elf = ELFFile(io.BytesIO(contents))
        except (OSError, ELFError) as error:
            raise NucleoSimError(
                f"{self._name}: {error}. Name the ELF file that is in the board's flash."
            ) from error

    @cached_property
    def functions(self) -> tuple[Function, ...]:
        """In order of address. One without a size (assembly) reaches to the next symbol; several
        static ones of a name have their address beside it."""
        found: dict[int, tuple[str, int]] = {}
        code = {
            index: section["sh_addr"] + section["sh_size"]
            for index, section in enumerate(self._elf.iter_sections())
            if section["sh_flags"] & _EXECUTABLE
        }
        for symbol in _symbols(self._elf):
            if symbol["st_info"]["type"] == "STT_FUNC" and symbol["st_shndx"] in code:
                start = symbol["st_value"] & ~1
                known = found.get(start)
                if known is None or known[1] < symbol["st_size"]:
                    found[start] = symbol.name, symbol["st_size"]
        starts = sorted({*found, *code.values()})
        names = Counter(name for name, _ in found.values())
        return tuple(
            Function(
                name if names[name] == 1 else f"{name} ({start:#010x})",
                start,
                start + size if size else starts[bisect_right(starts, start)],
            )
            for start, (name, size) in sorted(found.items())
        )

    @cached_property
    def _starts(self) -> list[int]:
        return [function.start for function in self.functions]

    def function_at(self, address: int) -> Function | None:
        """The function that an address lies in."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address < self.functions[index].end:
            return self.functions[index]
        return None

    def function_named(self, name: str) -> Function:
        """A function by name.

        Raises:
            NucleoSimError: there is none.
        """
        for function in self.functions:
            if function.name == name:
                return function
        raise NucleoSimError(
            f"{self._name}: no function '{name}'; it may have been inlined. "
            "`arm-none-eabi-nm` lists those there are."
        )

    @cached_property
    def _lines(self) -> tuple[list[int], list[str]]:
        addresses: list[int] = []
        places: list[str] = []
        found = sorted(_line_table(self._elf)) if self._elf.has_dwarf_info() else []
        for address, _, place in found:
            addresses.append(address)
            places.append(place)
        return addresses, places

    def line_at(self, address: int) -> str:
        """Source file and line (`kernel.c:42`), for inlined code those of its own source; or ""."""
        addresses, places = self._lines
        index = bisect_right(addresses, address) - 1
        return places[index] if index >= 0 else ""

    def code_of(self, function: Function) -> tuple[tuple[int, bytes], ...]:
        """Pieces of a function that are code, constants between them left out."""
        marks = sorted(
            (symbol["st_value"] & ~1, symbol.name.split(".")[0] == _CODE)
            for symbol in _symbols(self._elf)
            if symbol.name[:2] in (_CODE, _DATA)
            and function.start <= symbol["st_value"] & ~1 < function.end
        )
        if not marks or marks[0][0] > function.start:
            marks.insert(0, (function.start, True))
        bounds = [address for address, _ in marks[1:]] + [function.end]
        return tuple(
            (start, _contents(self._elf, start, end))
            for (start, is_code), end in zip(marks, bounds, strict=True)
            if is_code and end > start
        )


def _symbols(elf: ELFFile) -> Iterator:
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection):
            yield from section.iter_symbols()


def _contents(elf: ELFFile, start: int, end: int) -> bytes:
    for section in elf.iter_sections():
        first = section["sh_addr"]
        if section["sh_flags"] & _EXECUTABLE and first <= start < first + section["sh_size"]:
            return section.data()[start - first : end - first]
    return b""


def _line_table(elf: ELFFile) -> Iterator[tuple[int, bool, str]]:
    """(address, whether code goes on there, place); an end sorts before what begins there."""
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        files = program["file_entry"]
        first = 0 if program["version"] >= 5 else 1
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if state.end_sequence:
                yield state.address, False, ""
            else:
                name = files[state.file - first].name.decode(errors="replace")
                yield state.address, True, f"{Path(name).name}:{state.line}"
