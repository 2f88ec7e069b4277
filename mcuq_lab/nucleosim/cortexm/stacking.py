"""Exception entry and return: the stack frame (ARMv7-M reference manual, B1.5.6 to B1.5.8)."""

from __future__ import annotations

import struct

from mcuq_lab.nucleosim.engine import registers as reg
from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory_map import BusError

ENTRY_CYCLES = 12  # ARM 100166, 3.9: from memory without wait states
FPU_ENTRY_CYCLES = 17
RETURN_CYCLES = 10

_FRAME_WORDS = 8
_FPU_FRAME_WORDS = 26
_SPSEL = 1 << 1
_FPCA = 1 << 2
_ALIGNED = 1 << 9  # in the stacked xPSR: the stack pointer was moved by 4
_IT_STATE = 0x0600FC00


def push_frame(machine: Machine, return_address: int) -> int:
    """Save the caller's context on its stack and enter handler mode; returns EXC_RETURN.

    The caller sets the exception number and the program counter.

    Raises:
        BusError: the stack is not in writable memory; the stack pointer has moved all the same.
    """
    registers = machine.registers
    control = registers.read(reg.CONTROL_BYTES) >> 24
    handler_mode = registers.exception != 0
    with_fpu = bool(control & _FPCA)
    process_stack = bool(control & _SPSEL) and not handler_mode
    words = [registers.read(number) for number in (0, 1, 2, 3, 12, reg.LR)]
    xpsr = registers.read(reg.XPSR)
    sp = registers.read(reg.SP)
    size = 4 * (_FPU_FRAME_WORDS if with_fpu else _FRAME_WORDS)
    frame = (sp - size) & ~7 & 0xFFFFFFFF
    xpsr |= _ALIGNED if (sp - size) & 4 else 0
    words += [return_address, xpsr]
    if with_fpu:
        words += [registers.read(reg.S0 + number) for number in range(16)]
        words += [registers.read(reg.FPSCR), 0]
    registers.write(reg.SP, frame)
    machine.add_cycles(FPU_ENTRY_CYCLES if with_fpu else ENTRY_CYCLES)
    exc_return = 0xFFFFFFF1 if handler_mode else 0xFFFFFFFD if process_stack else 0xFFFFFFF9
    if with_fpu:
        exc_return &= ~0x10
    registers.write(reg.LR, exc_return)
    others = registers.read(reg.CONTROL_BYTES) & 0x00FFFFFF
    registers.write(reg.CONTROL_BYTES, (control & ~(_SPSEL | _FPCA)) << 24 | others)
    machine.map.write(frame, struct.pack(f"<{len(words)}I", *words))
    return exc_return


def enter_handler(machine: Machine, exception: int, address: int) -> None:
    """Go on at a handler: sets the exception number, clears IT state and pipeline."""
    xpsr = machine.registers.read(reg.XPSR) & ~_IT_STATE & ~0x1FF
    machine.registers.write(reg.XPSR, xpsr | 1 << 24 | exception)
    machine.registers.pc = address
    machine.forget_pipeline()
    if machine.recording is not None:
        machine.recording.calls.interrupt(address & ~1, machine.cycles)


def pop_frame(machine: Machine, exc_return: int) -> None:
    """Return from an exception: restore the context that EXC_RETURN names.

    Raises:
        BusError: the stack is not in memory.
    """
    registers = machine.registers
    to_thread = bool(exc_return & 8)
    process_stack = bool(exc_return & 4)
    with_fpu = not exc_return & 0x10
    sp = registers.read(reg.PSP if process_stack else reg.MSP)
    count = _FPU_FRAME_WORDS if with_fpu else _FRAME_WORDS
    words = struct.unpack(f"<{count}I", machine.map.read(sp, 4 * count))
    xpsr = words[7]
    others = registers.read(reg.CONTROL_BYTES)
    control = others >> 24 & ~(_SPSEL | _FPCA)
    control |= _SPSEL if process_stack and to_thread else 0
    control |= _FPCA if with_fpu else 0
    # The exception number goes first: it says which stack pointer is the current one.
    registers.write(reg.XPSR, xpsr & ~_ALIGNED | 1 << 24)
    registers.write(reg.CONTROL_BYTES, control << 24 | others & 0x00FFFFFF)
    new_sp = sp + 4 * count + (4 if xpsr & _ALIGNED else 0)
    registers.write(reg.PSP if process_stack else reg.MSP, new_sp)
    for number, word in zip((0, 1, 2, 3, 12, reg.LR), words, strict=False):
        registers.write(number, word)
    if with_fpu:
        for number in range(16):
            registers.write(reg.S0 + number, words[8 + number])
        registers.write(reg.FPSCR, words[24])
    registers.pc = words[6]
    machine.add_cycles(RETURN_CYCLES)
    machine.forget_pipeline()
    if machine.recording is not None:
        machine.recording.calls.resume(machine.cycles)


__all__ = ["BusError", "enter_handler", "pop_frame", "push_frame"]
