"""Runs an image on QEMU, and on the simulated core: whole, in slices, or step by step."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.stop import Stop, StopKind
from mcuq_lab.nucleosim.timing import timing_model
from mcuq_lab.nucleosim.timing.waits import NO_WAITS, Waits
from tests.nucleosim.qemu import layout
from tests.nucleosim.qemu.image import Image

EMULATOR = "qemu-system-arm"
_BOARDS = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}
_TIMEOUT_S = 120
_LIMIT_CYCLES = 1_000_000_000

# Hooks of single instructions add up in one engine, and each costs all that come after.
_CASES_OF_A_MACHINE = 100


def missing_tools() -> str | None:
    """What these tests need and cannot find, or None."""
    for tool, package in (
        (EMULATOR, "qemu-system-arm"),
        ("arm-none-eabi-as", "gcc-arm-none-eabi"),
    ):
        if shutil.which(tool) is None:
            return f"{tool} is not on PATH: apt-get install {package}"
    return None


def run_on_qemu(image: Image) -> bytes:
    """The RAM, from its start to the end of the records, after every case has run."""
    command = [EMULATOR, "-M", _BOARDS[image.core], "-display", "none", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    command += ["-kernel", str(image.path)]
    directory = image.path.parent
    done = subprocess.run(command, cwd=directory, capture_output=True, timeout=_TIMEOUT_S)
    ram = (directory / "ram.bin").read_bytes()
    if done.returncode:
        raise CaseError(_running_case(ram), f"faults on {EMULATOR} {done.stderr.decode()}")
    return ram


class CaseError(Exception):
    """A case that does not come to its end, by its index in the image."""

    def __init__(self, index: int, what: str) -> None:
        super().__init__(f"case {index} {what}")
        self.index = index


@dataclass(frozen=True)
class CoreRun:
    """What a run of cases left in RAM, and what it took."""

    ram: bytes
    cycles: int
    instructions: int


Advance = Callable[[Machine], Stop]
"""Lets a core run on for some time."""


def whole(machine: Machine) -> Stop:
    """All in one go."""
    return machine.run(machine.cycles + _LIMIT_CYCLES)


def stepped(machine: Machine) -> Stop:
    """One instruction at a time."""
    return machine.step()


def sliced(source: random.Random) -> Advance:
    """In slices of a few cycles, which end between blocks."""
    return lambda machine: machine.run(machine.cycles + source.randrange(1, 12))


def run_on_core(image: Image, advance: Advance = whole, waits: Waits = NO_WAITS) -> CoreRun:
    """The same RAM as `run_on_qemu`, from the simulated core."""
    code, ram = HostMemory(0, layout.CODE_BYTES), HostMemory(layout.RAM, layout.RAM_BYTES)
    for address, data in image.segments:
        (ram if ram.contains(address, len(data)) else code).write(address, data)
    cycles = instructions = 0
    for first in range(0, len(image.cases), _CASES_OF_A_MACHINE):
        last = min(first + _CASES_OF_A_MACHINE, len(image.cases))
        machine = Machine(image.core, timing_model(image.core))
        machine.map.add_ram(code)
        machine.map.add_ram(ram)
        machine.set_waits(waits)
        machine.enable_fpu(True)
        machine.registers.write(0, layout.record_address(first))
        machine.registers.write(1, layout.record_address(last))
        machine.registers.pc = image.symbols["run_cases"]
        stop = advance(machine)
        while stop.kind is StopKind.LIMIT:
            stop = advance(machine)
        index = _running_case(ram.read(layout.RAM, 4))
        if stop.kind is not StopKind.BKPT or index != last:
            raise CaseError(index, f"ends in {stop} at pc={machine.registers.pc:#x}, simulated")
        cycles, instructions = cycles + machine.cycles, instructions + machine.instructions
    size_bytes = layout.record_address(len(image.cases)) - layout.RAM
    return CoreRun(ram.read(layout.RAM, size_bytes), cycles, instructions)


def _running_case(ram: bytes) -> int:
    running = int.from_bytes(ram[:4], "little")
    return (running - layout.record_address(0)) // layout.RECORD_BYTES
