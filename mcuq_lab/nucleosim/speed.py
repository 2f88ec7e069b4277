"""How fast a simulated core executes: instructions of the chip in a second of this computer.

A function that firmware has made ready to run is called over and over, with the cycle model as a
board runs it, and without: the same instructions from the same memory in an emulator that counts
nothing. A busy computer shows in both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import unicorn
from unicorn import arm_const as arm

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.cortexm import ppb
from mcuq_lab.nucleosim.engine import registers as reg
from mcuq_lab.nucleosim.engine.machine import CPU_MODELS, Machine
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.stop import StopKind
from mcuq_lab.nucleosim.errors import NucleoSimError

_LEAST_S = 0.5
_ROUNDS = 3
_MOST_CYCLES = 2_000_000_000


@dataclass(frozen=True)
class Speed:
    """Millions of instructions a second of one function.

    Attributes:
        instructions, cycles: of one call, its caches and branch predictor warm.
        mips: with the cycle model.
        untimed_mips: of the emulator alone.
    """

    instructions: int
    cycles: int
    mips: float
    untimed_mips: float


def function_speed(board: SimulatedBoard, function: int, arguments: tuple[int, ...]) -> Speed:
    """Speed of a function, called from where the core is halted.

    Args:
        board: halted by a BKPT, with the stack and whatever else the function needs in place.
        function: its address.
        arguments: at most four words for r0 to r3.

    Raises:
        NucleoSimError: the function does not return.
    """
    machine = board.machine
    back = machine.registers.pc
    machine.set_breakpoints(frozenset({back}))

    def enter(registers) -> None:
        for number, value in enumerate(arguments):
            registers.write(number, value)
        registers.write(reg.LR, back | 1)
        registers.pc = function

    def call() -> None:
        enter(machine.registers)
        stop = machine.run(machine.cycles + _MOST_CYCLES)
        if stop.kind is not StopKind.BREAKPOINT:
            raise NucleoSimError(f"the function at {function:#x} ends with {stop}.")

    call()
    call()
    before = machine.instructions, machine.cycles
    call()
    instructions, cycles = machine.instructions - before[0], machine.cycles - before[1]
    emulator, memories = _emulator(board, machine)

    def call_untimed() -> None:
        for number, value in enumerate(arguments):
            emulator.reg_write(arm.UC_ARM_REG_R0 + number, value)
        emulator.reg_write(arm.UC_ARM_REG_LR, back | 1)
        emulator.emu_start(function | 1, back)

    call_untimed()
    speed = Speed(
        instructions,
        cycles,
        instructions / _best_s(call) / 1e6,
        instructions / _best_s(call_untimed) / 1e6,
    )
    memories.clear()
    machine.set_breakpoints(frozenset())
    machine.registers.pc = back
    return speed


def _best_s(call: Callable[[], None]) -> float:
    """Seconds of one call: the best of some rounds of many."""
    best = float("inf")
    for _ in range(_ROUNDS):
        calls, started = 0, time.process_time()
        while (passed := time.process_time() - started) < _LEAST_S:
            call()
            calls += 1
        best = min(best, passed / calls)
    return best


def _emulator(board: SimulatedBoard, machine: Machine) -> tuple[unicorn.Uc, list[HostMemory]]:
    """An emulator without hooks whose memory and registers are copies of the board's."""
    emulator = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
    emulator.ctl_set_cpu_model(CPU_MODELS[board.chip.core.name])
    memories = []
    regions = [(ram.start, ram.size_bytes) for ram in board.chip.rams]
    regions.append((board.chip.flash.start, board.chip.flash.size_bytes))
    for start, size_bytes in regions:
        memory = HostMemory(start, size_bytes)
        memory.write(start, board.read(start, size_bytes))
        emulator.mem_map_ptr(start, size_bytes, unicorn.UC_PROT_ALL, memory.address)
        memories.append(memory)
    emulator.mem_map(ppb.START, ppb.SIZE_BYTES)
    emulator.reg_write(arm.UC_ARM_REG_SP, machine.registers.read(reg.SP))
    return emulator, memories
