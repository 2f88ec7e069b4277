"""Cases to one image that both simulators run."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.nucleosim.qemu import layout
from tests.nucleosim.qemu.case import Case

_DRIVER = Path(__file__).parent / "driver.S"
_FPU = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-d16"}


@dataclass(frozen=True)
class Image:
    """An ELF of cases, its code at 0 and its records in RAM."""

    path: Path
    core: str
    cases: tuple[Case, ...]

    @cached_property
    def symbols(self) -> dict[str, int]:
        """Addresses by name."""
        with self.path.open("rb") as file:
            table = ELFFile(file).get_section_by_name(".symtab")
            return {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}

    @cached_property
    def segments(self) -> tuple[tuple[int, bytes], ...]:
        """Address and contents of what is loaded."""
        with self.path.open("rb") as file:
            segments = ELFFile(file).iter_segments("PT_LOAD")
            return tuple((segment["p_vaddr"], segment.data()) for segment in segments)


def build_image(core: str, cases: Sequence[Case], directory: Path) -> Image:
    """Assemble and link cases; files go to `directory`."""
    assert len(cases) <= layout.MOST_CASES
    source, object_path, path = (directory / f"cases.{end}" for end in ("s", "o", "elf"))
    source.write_text(_assembly(core, cases))
    _run("arm-none-eabi-as", "-mthumb", "--no-warn", str(source), "-o", str(object_path))
    script = ("-Ttext=0", f"-Tdata={layout.RAM:#x}", "-e", "reset", "--no-warn-rwx-segments")
    _run("arm-none-eabi-ld", *script, str(object_path), "-o", str(path))
    return Image(path, core, tuple(cases))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:2000]


def _assembly(core: str, cases: Sequence[Case]) -> str:
    end = layout.record_address(len(cases))
    lines = [
        f".cpu {core}",
        f".fpu {_FPU[core]}",
        f".equ RAM, {layout.RAM:#x}",
        f".equ RECORD_BYTES, {layout.RECORD_BYTES}",
        f".equ DRIVER_STACK, {layout.RAM + layout.HEADER_BYTES:#x}",
        f".equ FIRST_RECORD, {layout.record_address(0):#x}",
        f".equ LAST_RECORD_END, {end:#x}",
        _DRIVER.read_text(),
    ]
    for index, case in enumerate(cases):
        lines += [".text", ".balign 4", ".thumb_func", f"case{index}:"]
        lines += [line.replace("@", f"{index}_") for unit in case.units for line in unit]
        lines += ["b.w leave", ".ltorg", ".data", _record(case, index)]
    return "\n".join(lines) + "\n"


def _record(case: Case, index: int) -> str:
    words = [f"{word:#x}" for word in case.words(layout.window_address(index))]
    words[layout.ENTRY_WORD] = f"case{index} + 1"
    return ".word " + ", ".join(words)
