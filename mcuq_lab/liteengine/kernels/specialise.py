"""Kernels from C headers: an inline function, specialised by constants, becomes one C file.

A kernel with a driver is a table of such functions, one of them a tile function in assembly, and of
their constants, which the driver is called with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mcuq_lab.liteengine.ctext import c_struct
from mcuq_lab.sources import SourceFile

_DIRECTORY = Path(__file__).parent


@cache
def kernel_header(name: str) -> SourceFile:
    """A header of this package by its file name."""
    return SourceFile(name, (_DIRECTORY / name).read_text())


@cache
def specialised(
    kernel: str,
    parameters: str,
    body: str,
    headers: tuple[str, ...],
    included: tuple[str, ...] = (),
) -> tuple[SourceFile, ...]:
    """The files of one kernel: the headers it is made of, its prototype, and its function.

    Args:
        kernel: name of the C function and of its files.
        parameters: C parameter list.
        body: the statement that calls the inline function with this kernel's constants.
        headers: names of this package's headers, each before those that include it; the last one
            is what the kernel's own header includes.
        included: names of generated headers that the body needs besides.
    """
    prototype = f"LE_INTERNAL void {kernel}({parameters})"
    lines = "".join(f'#include "{name}"\n' for name in (f"{kernel}.h", *included))
    source = f"{lines}\n{prototype} {{\n    {body}\n}}\n"
    return (
        *(kernel_header(name) for name in headers),
        prototype_header(kernel, headers[-1], prototype),
        SourceFile(f"{kernel}.c", source),
    )


def includes(files: Sequence[SourceFile]) -> tuple[str, ...]:
    """Names of the headers among files."""
    return tuple(file.name for file in files if file.is_header)


def prototype_header(name: str, included: str, prototypes: str) -> SourceFile:
    """`<name>.h` with prototypes (without the last semicolon) and the header that they need."""
    guard = f"{name.upper()}_H"
    return SourceFile(
        f"{name}.h",
        f'#ifndef {guard}\n#define {guard}\n\n#include "{included}"\n\n{prototypes};\n\n#endif\n',
    )


def driven_kernel(
    kernel: str,
    driver: str,
    prefix: str,
    fields: Mapping[str, int | str],
    parts: Sequence[str],
    headers: Sequence[str] = (),
    table: str = "",
) -> tuple[SourceFile, ...]:
    """The files of a kernel that calls a driver with its table; those of its functions are extra.

    Args:
        kernel: name of the C function and of its files.
        driver: function in the package's `<driver>.c`, declared in `<driver>.h`.
        prefix: of the driver's types, `<prefix>_layer` and `<prefix>_kernel`, the table's.
        fields: of the table.
        parts: names of the functions in the table, each declared in a header of its name.
        headers: of the package, that the driver includes besides its own.
        table: the table's type, if it is not `<prefix>_kernel`.
    """
    parameters = f"const {prefix}_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"
    prototype = f"LE_INTERNAL void {kernel}({parameters})"
    source = (
        f'#include "{kernel}.h"\n\n'
        + "".join(f'#include "{part}.h"\n' for part in parts)
        + f"\n{c_struct(table or f'{prefix}_kernel', f'{kernel}_table', fields)}\n"
        f"{prototype} {{\n    {driver}(layer, &{kernel}_table, in, out, scratch);\n}}\n"
    )
    return (
        *(kernel_header(name) for name in (f"{driver}.h", f"{driver}.c", *headers)),
        prototype_header(kernel, f"{driver}.h", prototype),
        SourceFile(f"{kernel}.c", source),
    )


def tile_function(
    name: str,
    prefix: str,
    generator: str,
    lines: Sequence[str],
    twin: str,
    parameters: Sequence[str] = (),
) -> str:
    """C text of a tile function: in assembly where the core has it, else its twin.

    Args:
        name: of the function, `void (<prefix>_call *call)`.
        prefix: `<PREFIX>_ASSEMBLY` says whether the core has it.
        generator: file whose text explains the registers.
        lines: instructions.
        twin: statements in C that compute the same.
        parameters: of the function, if it is a whole kernel.
    """
    declared = parameters or (f"{prefix}_call *call",)
    unused = ",\n    ".join(f"{parameter} __attribute__((unused))" for parameter in declared)
    instructions = "".join(f'        "{line}\\n"\n' for line in lines)
    return (
        f"#if {prefix.upper()}_ASSEMBLY\n"
        f"/* Registers: see the generator's text in {generator}. */\n"
        f"__attribute__((naked, noinline)) LE_INTERNAL void {name}(\n"
        f"    {unused}) {{\n"
        f"    __asm__ volatile(\n{instructions}    );\n}}\n"
        "#else\n"
        f"LE_INTERNAL void {name}({', '.join(declared)}) {{\n    {twin}\n}}\n"
        "#endif\n"
    )
