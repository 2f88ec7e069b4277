"""Makes `assembled.toml` anew from the sources: python -m mcuq_lab.nucleosim.programs.assemble.

Needs arm-none-eabi-gcc; running the programs does not.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parent
TABLE = SOURCES / "assembled.toml"
_TO_BINARY = ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", "-j", ".rodata"]
_ARCHITECTURES = {"cortex_m7": ["-mcpu=cortex-m7", "-mfpu=fpv5-d16"]}
_ARCHITECTURE = ["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"]
COMPILER_VERSION = "12.2"
"""Of what is in C; another one makes other code."""

# What is published of compiled code was compiled for speed, without the FPU.
_COMPILE = ["-O2", "-mfloat-abi=soft", "-ffreestanding", "-fno-toplevel-reorder"]
_CODE_START = 0x0800_0200
"""Where the harness calls it; only code of C depends on it."""
_DATA_START = 0x2000_0100
_LINE_BYTES = 32


def sources() -> Iterator[tuple[str, Path]]:
    """Name and path of each source."""
    for path in sorted([*SOURCES.glob("**/*.S"), *SOURCES.glob("**/*.c")]):
        yield path.relative_to(SOURCES).with_suffix("").as_posix(), path


def assemble(source: Path) -> bytes:
    """Machine code and constants of one source; its first function is the one to call."""
    options = _ARCHITECTURES.get(source.parent.name, _ARCHITECTURE)
    if source.suffix == ".c":
        options = [options[0], "-mthumb", *_COMPILE]
    start = 0x0800_0000 if source.parent == SOURCES else _CODE_START
    places = [f"-Ttext={start:#x}", f"-Tbss={_DATA_START:#x}", "-e0"]
    with tempfile.TemporaryDirectory() as directory:
        object_file, binary = Path(directory, "code.o"), Path(directory, "code.bin")
        elf = Path(directory, "code.elf")
        for command in (
            ["arm-none-eabi-gcc", "-c", *options, str(source), "-o", str(object_file)],
            ["arm-none-eabi-ld", *places, str(object_file), "-o", str(elf)],
            [*_TO_BINARY, str(elf), str(binary)],
        ):
            subprocess.run(command, check=True)
        return binary.read_bytes()


def table() -> str:
    """The text of `assembled.toml`."""
    lines = ["# Machine code of the sources here, made by assemble.py.", "", "[code]"]
    for name, path in sources():
        code = assemble(path)
        pieces = (code[at : at + _LINE_BYTES].hex() for at in range(0, len(code), _LINE_BYTES))
        lines += [f'"{name}" = """', *pieces, '"""']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
