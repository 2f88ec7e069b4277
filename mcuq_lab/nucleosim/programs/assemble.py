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
_ARCHITECTURES = {"cortex_m7": ["-mcpu=cortex-m7", "-mfpu=fpv5-d16"]}
_ARCHITECTURE = ["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"]
_LINE_BYTES = 32


def sources() -> Iterator[tuple[str, Path]]:
    """Name and path of each source."""
    for path in sorted(SOURCES.glob("**/*.S")):
        yield path.relative_to(SOURCES).with_suffix("").as_posix(), path


def assemble(source: Path) -> bytes:
    """Machine code of one source, which must not depend on where it lies."""
    architecture = _ARCHITECTURES.get(source.parent.name, _ARCHITECTURE)
    with tempfile.TemporaryDirectory() as directory:
        object_file, binary = Path(directory, "code.o"), Path(directory, "code.bin")
        elf = Path(directory, "code.elf")
        for command in (
            ["arm-none-eabi-gcc", "-c", *architecture, str(source), "-o", str(object_file)],
            ["arm-none-eabi-ld", "-Ttext=0x08000000", "-e0", str(object_file), "-o", str(elf)],
            ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", str(elf), str(binary)],
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
