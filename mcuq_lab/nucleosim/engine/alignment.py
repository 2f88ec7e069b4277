"""Which registers decide, on entry of a block, whether its multiple-word accesses are aligned.

The Cortex-M faults where LDM, LDRD and their like meet an address that is not a multiple of 4;
Unicorn does not. A look at each such instruction before it runs would cost more than the
instruction. But in nearly every block the base register is a register on entry plus a constant, so
that one look at the block's entry is enough, and none at all while a loop repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

import capstone
from capstone import arm

from mcuq_lab.nucleosim.engine.thumb import ALWAYS, instructions

_Origin = tuple[int, int] | None  # (register on entry, constant modulo 4), or not known

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True
_NUMBERS = {
    **{getattr(arm, f"ARM_REG_R{number}"): number for number in range(13)},
    arm.ARM_REG_SP: 13,
    arm.ARM_REG_LR: 14,
    arm.ARM_REG_PC: 15,
}


@dataclass(frozen=True)
class EntryChecks:
    """What to look at when a block is entered.

    Attributes:
        registers: (register, constant) pairs whose sum must be a multiple of 4.
        all_known: whether these cover every access; if not, each access needs its own look.
        kept: whether the block leaves the checked registers as they were, modulo 4.
    """

    registers: tuple[tuple[int, int], ...]
    all_known: bool
    kept: bool


def entry_checks(code: bytes) -> EntryChecks:
    """The checks for one block."""
    candidates = {
        instruction.offset: instruction.aligned_base
        for instruction in instructions(code)
        if instruction.aligned_base is not None
    }
    if not candidates:
        return EntryChecks((), True, True)
    origins: dict[int, _Origin] = {number: (number, 0) for number in range(15)}
    checks: dict[tuple[int, int], None] = {}
    all_known = True
    for instruction in instructions(code):
        if instruction.offset in candidates:
            origin = origins[candidates[instruction.offset]]
            if origin is None:
                all_known = False
            else:
                checks[origin] = None
        encoding = code[instruction.offset : instruction.offset + instruction.size]
        _track(origins, encoding, instruction.condition != ALWAYS)
    kept = all(origins[register] == (register, 0) for register, _ in checks)
    return EntryChecks(tuple(checks), all_known, kept)


def _track(origins: dict[int, _Origin], encoding: bytes, conditional: bool) -> None:
    """Follow what one instruction does to the alignment of registers."""
    decoded = next(_DECODER.disasm(encoding, 0, 1), None)
    if decoded is None:
        return
    written = {_NUMBERS[id] for id in decoded.regs_access()[1] if id in _NUMBERS} - {15}
    results = _results(origins, decoded)
    for number in written:
        new = results.get(number)
        origins[number] = None if conditional and new != origins[number] else new


def _results(origins: dict[int, _Origin], decoded: capstone.CsInsn) -> dict[int, _Origin]:
    """Origins of the registers that an instruction writes, as far as they can be told."""
    name = decoded.insn_name()
    operands = decoded.operands
    registers = [
        _NUMBERS.get(operand.reg) if operand.type == arm.ARM_OP_REG else None
        for operand in operands
    ]
    if name in ("ldm", "ldmdb", "stm", "stmdb", "vldmia", "vldmdb", "vstmia", "vstmdb"):
        loaded = registers[1:] if name.startswith("ld") else []
        base = registers[0]
        return {} if base is None or base in loaded else {base: origins[base]}
    if operands and decoded.writeback:
        return _written_back(origins, operands)
    if name in ("mov", "movs") and len(operands) == 2 and registers[1] is not None:
        plain = operands[1].shift.type == arm.ARM_SFT_INVALID
        return {registers[0]: origins.get(registers[1])} if plain else {}
    if name in ("add", "adds", "addw", "sub", "subs", "subw"):
        return _sum(origins, operands, registers, -1 if name.startswith("sub") else 1)
    return {}


def _written_back(origins: dict[int, _Origin], operands) -> dict[int, _Origin]:
    for index, operand in enumerate(operands):
        if operand.type == arm.ARM_OP_MEM:
            base = _NUMBERS.get(operand.mem.base)
            offset = operand.mem.disp
            last = operands[-1]
            if index + 1 < len(operands) and last.type == arm.ARM_OP_IMM:
                offset = -last.imm if last.subtracted else last.imm
            loaded = {_NUMBERS.get(other.reg) for other in operands[:index]}
            if base is not None and not operand.mem.index and base not in loaded:
                return {base: _shifted(origins[base], offset)}
    return {}


def _sum(origins, operands, registers, sign: int) -> dict[int, _Origin]:
    if not registers or registers[0] is None:
        return {}
    source = registers[0] if len(operands) == 2 else registers[1]
    last = operands[-1]
    if source is None or source == 15:
        return {}
    if last.type == arm.ARM_OP_IMM:
        return {registers[0]: _shifted(origins[source], sign * last.imm)}
    if last.shift.type == arm.ARM_SFT_LSL and last.shift.value >= 2:
        return {registers[0]: origins[source]}
    return {}


def _shifted(origin: _Origin, offset: int) -> _Origin:
    return None if origin is None else (origin[0], origin[1] + offset & 3)
