"""Generated networks on the simulated core, without board or probe: outputs and cycles.

The bench measures through pyOCD; this is the short way, for tests of generated code: everything is
linked into one image at the usual addresses, entered at `main_run`, and stopped at its BKPT.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile

from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.bench.toolchain import find_toolchain
from mcuq_lab.content_cache import user_cache
from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.stop import StopKind
from mcuq_lab.nucleosim.timing import timing_model
from mcuq_lab.sources import SourceFile, Sources

FLAGS = (
    *("-std=c11", "-O3", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    *("-Wall", "-Wextra", "-Werror", "-ffreestanding", "-ffunction-sections", "-fdata-sections"),
)
_FLASH, _FLASH_BYTES = 0x08000000, 1 << 20
_SRAM, _SRAM_BYTES = 0x20000000, 256 << 10
_LINKER_SCRIPT = """
MEMORY { FLASH (rx) : ORIGIN = 0x08000000, LENGTH = 1M
         SRAM (rw) : ORIGIN = 0x20000000, LENGTH = 240K }
SECTIONS {
  .text : { *(.text*) *(.rodata*) } > FLASH
  .data : { *(.data*) } > SRAM
  .bss : { *(.bss*) *(COMMON) } > SRAM
  /DISCARD/ : { *(.ARM.exidx*) }
}
"""
_MAIN = """
#include "model.h"
void main_run(void) { mcuq_invoke(mcuq_arena + MCUQ_INPUT_OFFSET, mcuq_arena + MCUQ_OUTPUT_OFFSET);
                      __asm__ volatile("bkpt 0"); }
void main_layer(uint32_t layer) { mcuq_layers[layer](); __asm__ volatile("bkpt 0"); }
const uint32_t main_places[4] = {MCUQ_INPUT_OFFSET, MCUQ_OUTPUT_OFFSET, MCUQ_OUTPUT_BYTES,
                                 MCUQ_ARENA_BYTES};
"""


@dataclass(frozen=True)
class CoreRun:
    """Outputs uint8 (N, bytes), cycles of each inference, cycles of each layer, image bytes."""

    outputs: np.ndarray
    cycles: tuple[int, ...]
    layer_cycles: tuple[int, ...]
    text_bytes: int


def build_image(files: tuple[SourceFile, ...], entries: tuple[str, ...]) -> Path:
    """An ELF of these C files, kept in the object cache; `entries` keep their functions alive."""
    objects = compile_objects(find_toolchain(), files, FLAGS, user_cache())
    directory = Path(tempfile.mkdtemp(prefix="mcuq-image-"))
    script, image = directory / "image.ld", directory / "image.elf"
    script.write_text(_LINKER_SCRIPT)
    command = ["arm-none-eabi-gcc", *FLAGS, "-nostdlib", "-Wl,--gc-sections", f"-T{script}"]
    command += [f"-Wl,-u,{entry}" for entry in entries] + [f"-Wl,-e,{entries[0]}"]
    command += ["-Wl,--no-warn-rwx-segments", *map(str, objects.paths), "-o", str(image)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return image


class Core:
    """A simulated core with one image in its flash, a Cortex-M4 unless told; no wait states.

    The image is that of an M4 in any case: of another core it is the timing that counts.
    """

    def __init__(self, image: Path, core: str = "cortex-m4") -> None:
        self._flash = HostMemory(_FLASH, _FLASH_BYTES)
        self._sram = HostMemory(_SRAM, _SRAM_BYTES)
        with image.open("rb") as file:
            elf = ELFFile(file)
            for segment in elf.iter_segments("PT_LOAD"):
                for memory in (self._flash, self._sram):
                    if memory.contains(segment["p_vaddr"], segment["p_memsz"]):
                        memory.write(segment["p_vaddr"], segment.data())
            self.symbols = {
                symbol.name: symbol["st_value"]
                for symbol in elf.get_section_by_name(".symtab").iter_symbols()
            }
            self.text_bytes = elf.get_section_by_name(".text")["sh_size"]
        self._machine = Machine(core, timing_model(core))
        self._machine.map.add_ram(self._flash)
        self._machine.map.add_ram(self._sram)
        self._machine.enable_fpu(True)

    def call(self, function: str, *arguments: int, limit_cycles: int = 2_000_000_000) -> int:
        """Runs a C function that ends in BKPT; returns its cycles."""
        machine = self._machine
        for number, argument in enumerate(arguments):
            machine.registers.write(number, argument)
        machine.registers.write(13, _SRAM + _SRAM_BYTES)
        machine.registers.pc = self.symbols[function] & ~1
        before = machine.cycles
        stop = machine.run(before + limit_cycles)
        assert stop.kind is StopKind.BKPT, stop
        return machine.cycles - before

    def read(self, address: int, size_bytes: int) -> bytes:
        return self._machine.map.read(address, size_bytes)

    def write(self, address: int, data: bytes) -> None:
        self._machine.map.write(address, data)


def run_on_core(sources: Sources, inputs: np.ndarray, core_name: str = "cortex-m4") -> CoreRun:
    """Runs a generated network on inputs uint8 (N, input bytes), as stored in memory."""
    files = (*sources.files, SourceFile("main_core.c", _MAIN))
    core = Core(build_image(files, ("main_run", "main_layer", "main_places")), core_name)
    arena = core.symbols["mcuq_arena"]
    places = np.frombuffer(core.read(core.symbols["main_places"], 16), np.uint32)
    input_offset, output_offset, output_bytes, arena_bytes = map(int, places)
    outputs, cycles = [], []
    for row in inputs:
        core.write(arena, b"\xa5" * arena_bytes)
        core.write(arena + input_offset, row.tobytes())
        cycles.append(core.call("main_run"))
        outputs.append(core.read(arena + output_offset, output_bytes))
    core.write(arena + input_offset, inputs[0].tobytes())
    layers = tuple(core.call("main_layer", i) for i in range(len(sources.layers)))
    stored = np.frombuffer(b"".join(outputs), np.uint8).reshape(len(inputs), -1)
    return CoreRun(stored, tuple(cycles), layers, core.text_bytes)


@cache
def has_toolchain() -> bool:
    """Whether arm-none-eabi-gcc is there."""
    try:
        find_toolchain()
    except Exception:
        return False
    return True
