"""Kernels from C headers: an inline function, specialised by constants, becomes one C file."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mcuq_lab.sources import SourceFile

_DIRECTORY = Path(__file__).parent


@cache
def kernel_header(name: str) -> SourceFile:
    """A header of this package by its file name."""
    return SourceFile(name, (_DIRECTORY / name).read_text())


@cache
def specialised(
    kernel: str, parameters: str, body: str, headers: tuple[str, ...]
) -> tuple[SourceFile, ...]:
    """The files of one kernel: the headers it is made of, its prototype, and its function.

    Args:
        kernel: name of the C function and of its files.
        parameters: C parameter list.
        body: the statement that calls the inline function with this kernel's constants.
        headers: names of this package's headers, each before those that include it; the last one
            is what the kernel's own header includes.
    """
    guard = f"{kernel.upper()}_H"
    prototype = f"LE_INTERNAL void {kernel}({parameters})"
    header = (
        f'#ifndef {guard}\n#define {guard}\n\n#include "{headers[-1]}"\n\n{prototype};\n\n#endif\n'
    )
    source = f'#include "{kernel}.h"\n\n{prototype} {{\n    {body}\n}}\n'
    return (
        *(kernel_header(name) for name in headers),
        SourceFile(f"{kernel}.h", header),
        SourceFile(f"{kernel}.c", source),
    )
