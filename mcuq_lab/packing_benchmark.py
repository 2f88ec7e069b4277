"""Cycles of the register tiles of all families of operand packing on the simulated Cortex-M4."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcuq_lab.errors import McuqError
from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.stop import StopKind
from mcuq_lab.nucleosim.timing import timing_model
from mcuq_lab.packing_tiles import Code, PackingTile, tiles

CORE = "cortex-m4"
ROUNDS = 64
_FLASH, _SRAM, _MEMORY_BYTES = 0x0800_0000, 0x2000_0000, 256 << 10
_LOAD = re.compile(r"ldr (\w+), \[(r[01])\], #4")
_MOST_CYCLES = 1_000_000


@dataclass(frozen=True)
class PackingRow:
    """One tile.

    Attributes:
        cycles_per_round: with loop control.
        macs_per_cycle: of all passes over `ROUNDS` rounds, with what only this tile needs.
    """

    name: str
    operator: str
    w_bits: int
    a_bits: int
    cycles_per_round: float
    macs_per_cycle: float


def bench_packings() -> Iterator[PackingRow]:
    """A row for each tile.

    Raises:
        McuqError: the assembler is missing or refuses a tile.
    """
    for tile in tiles():
        loop = code_cycles(loop_code(tile, ROUNDS))
        total = tile.passes * loop + (code_cycles(tile.tail) if tile.tail else 0)
        yield PackingRow(
            name=tile.name,
            operator=tile.operator,
            w_bits=tile.w_bits,
            a_bits=tile.a_bits,
            cycles_per_round=round(loop / ROUNDS, 2),
            macs_per_cycle=round(tile.passes * tile.macs * ROUNDS / total, 3),
        )


def timing_text() -> str:
    """Name, version and stated uncertainty of the cycle model."""
    model = timing_model(CORE)
    return f"{model.name} {model.version}: {model.uncertainty}"


def loop_code(tile: PackingTile, rounds: int) -> Code:
    """`rounds` rounds: loads get immediate offsets, which keeps their 16-bit encodings."""
    offsets = {"r0": 0, "r1": 0}
    body = []
    for instruction in tile.round * tile.unroll:
        match = _LOAD.fullmatch(instruction)
        if match:
            register, pointer = match.groups()
            instruction = f"ldr {register}, [{pointer}, #{offsets[pointer]}]"
            offsets[pointer] += 4
        body.append(instruction)
    return (
        f"add r2, r1, #{offsets['r1'] * (rounds // tile.unroll)}",
        "vmov s31, r2",
        ".balign 4",
        "9:",
        *body,
        *(f"adds {pointer}, #{size}" for pointer, size in offsets.items()),
        "vmov r2, s31",
        "cmp r1, r2",
        "bne.w 9b",
    )


def code_cycles(code: Code) -> int:
    """Cycles of straight code or loops that leave memory alone beyond r0 and r1.

    Raises:
        McuqError: the assembler is missing or refuses it, or the code does not end.
    """
    machine = Machine(CORE, timing_model(CORE))
    flash, sram = HostMemory(_FLASH, _MEMORY_BYTES), HostMemory(_SRAM, _MEMORY_BYTES)
    flash.write(_FLASH, _assembled((*code, "bkpt 0")))
    machine.map.add_ram(flash)
    machine.map.add_ram(sram)
    machine.enable_fpu(True)
    machine.registers.write(0, _SRAM)
    machine.registers.write(1, _SRAM)
    machine.registers.write(13, _SRAM + _MEMORY_BYTES)
    machine.registers.pc = _FLASH
    stop = machine.run(_MOST_CYCLES)
    if stop.kind is not StopKind.BKPT:
        raise McuqError(f"A measured tile stopped by {stop}; its code is wrong.")
    return machine.cycles


def _assembled(code: Code) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        source, binary = Path(directory, "tile.S"), Path(directory, "tile.bin")
        elf = Path(directory, "tile.o")
        head = (".syntax unified", ".thumb", ".text")
        source.write_text("\n".join((*head, *code, "")))
        cpu = [f"-mcpu={CORE}", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
        for command in (
            ["arm-none-eabi-gcc", "-c", *cpu, str(source), "-o", str(elf)],
            ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", str(elf), str(binary)],
        ):
            try:
                subprocess.run(command, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = getattr(error, "stderr", None) or error
                raise McuqError(f"A tile could not be assembled: {reason}") from error
        return binary.read_bytes()
