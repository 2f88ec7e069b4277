"""Several C files as one translation unit: one start of gcc instead of one a file.

A policy that differs in one layer differs in the constants of all layers behind it, and of what it
costs to compile a file of constants gcc's start, the headers and reading the numbers are nearly
all. The object has the sections that the files' own objects have, in the same order, so that the
linked image is the same to the byte.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from mcuq_lab.bench.section_order import in_order_of_marks
from mcuq_lab.sources import SourceFile

_BYTES = re.compile(r"^(static const uint8_t \w+\[\d+\][^={;\n]*=) \{\n((?:[ 0-9,]*\n)*)\};$", re.M)
_ESCAPED = {str(value): f"\\{value:03o}" for value in range(256)}


def units_of(files: Sequence[SourceFile]) -> list[tuple[SourceFile, ...]]:
    """The files in their order, neighbours that may be compiled as one together."""
    return [
        members
        for joinable, run in groupby(files, lambda file: file.joinable and not file.arguments)
        for members in ([tuple(run)] if joinable else [(file,) for file in run])
    ]


def joined_text(files: Sequence[SourceFile]) -> str:
    """C that includes all files, each followed by a variable that marks its end."""
    return "".join(
        f'#include "{file.name}"\n'
        f'static const char mcuq_mark_{at} __attribute__((used, section("{mark}"))) = 1;\n'
        for at, (file, mark) in enumerate(zip(files, _marks(files), strict=True))
    )


def in_order_of_files(elf: bytes, files: Sequence[SourceFile]) -> bytes:
    """The object that `joined_text` gave, with its sections in the order of the files.

    Raises:
        BuildError: gcc laid it out in an unknown way.
    """
    return in_order_of_marks(elf, _marks(files))


def quickly_read(text: str) -> str:
    """The same C with arrays of bytes spelled as strings, which gcc reads several times as fast.

    Lines keep their numbers. An array that holds anything but numbers from 0 to 255 stays as it is.
    """
    return _BYTES.sub(_as_strings, text)


def _as_strings(match: re.Match[str]) -> str:
    lines = match[2].splitlines()
    try:
        strings = [
            "".join([_ESCAPED[item] for item in line.strip(" ,").split(", ")]) for line in lines
        ]
    except KeyError:
        return match[0]
    return "\n".join([match[1], *(f'"{string}"' for string in strings), ";"])


def _marks(files: Sequence[SourceFile]) -> list[str]:
    return [f".rodata.mcuq_mark_{at}" for at in range(len(files))]
