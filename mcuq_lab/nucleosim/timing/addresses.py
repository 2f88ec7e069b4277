"""Where the addresses of a block come from: registers on entry, plus constants.

What an access costs may depend on its address: whether it is aligned, which bank or memory it
meets. A simulator cannot look at each access without losing its speed. But in nearly every block
the base of an access is a register on entry plus a constant, so that one look at the register when
the block is entered tells of all its accesses.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import capstone
from capstone import arm

WORD = 4
DOUBLE_WORD = 8

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True
_NUMBERS = {
    **{getattr(arm, f"ARM_REG_R{number}"): number for number in range(13)},
    arm.ARM_REG_SP: 13,
    arm.ARM_REG_LR: 14,
    arm.ARM_REG_PC: 15,
}
_MULTIPLES = frozenset(
    ("ldm", "ldmdb", "stm", "stmdb", "vldmia", "vldmdb", "vstmia", "vstmdb"),
)


@dataclass(frozen=True, slots=True)
class Origin:
    """A value: the register on entry plus `constant`, which is known modulo `modulus` (4 or 8).

    Register 15 stands for the place of the code itself, down to a multiple of four.
    """

    register: int
    constant: int
    modulus: int = DOUBLE_WORD


@dataclass(frozen=True, slots=True)
class _Effect:
    """What one instruction writes to `register`: `source` plus `constant`; None: not known."""

    register: int
    source: int | None
    constant: int = 0
    modulus: int = DOUBLE_WORD


_ON_ENTRY = {n: Origin(n, 0) for n in range(15)} | {15: Origin(15, 0, WORD)}


class Origins:
    """Origins of the core registers while the instructions of a block are followed in order."""

    def __init__(self) -> None:
        self._origins: dict[int, Origin | None] = dict(_ON_ENTRY)

    def of(self, register: int) -> Origin | None:
        """Origin of the register's value now; None if it is not known."""
        return self._origins.get(register)

    def follow(self, encoding: bytes, conditional: bool) -> None:
        """Go past one instruction; `conditional` if an IT may skip it."""
        effects = _effects(encoding)
        if not effects:
            return
        origins = self._origins
        news = [self._result(effect) for effect in effects]
        for effect, new in zip(effects, news, strict=True):
            skipped_differs = conditional and new != origins[effect.register]
            origins[effect.register] = None if skipped_differs else new

    def _result(self, effect: _Effect) -> Origin | None:
        origin = None if effect.source is None else self._origins.get(effect.source)
        if origin is None:
            return None
        modulus = min(origin.modulus, effect.modulus)
        return Origin(origin.register, (origin.constant + effect.constant) % modulus, modulus)


@lru_cache(maxsize=1 << 16)
def _effects(encoding: bytes) -> tuple[_Effect, ...]:
    """What an instruction does to each core register that it writes; none if it does not decode."""
    decoded = next(_DECODER.disasm(encoding, 0, 1), None)
    if decoded is None:
        return ()
    written = {_NUMBERS[id] for id in decoded.regs_access()[1] if id in _NUMBERS} - {15}
    known = _known_effect(decoded)
    return tuple(
        known if known is not None and known.register == register else _Effect(register, None)
        for register in sorted(written)
    )


def _known_effect(decoded: capstone.CsInsn) -> _Effect | None:
    """The one register, if any, that gets a register plus a constant."""
    name = decoded.insn_name()
    operands = decoded.operands
    registers = [
        _NUMBERS.get(operand.reg) if operand.type == arm.ARM_OP_REG else None
        for operand in operands
    ]
    if name in ("push", "pop"):
        change = 4 * len(operands)
        return _Effect(13, 13, (-change if name == "push" else change) % DOUBLE_WORD)
    if name in ("vpush", "vpop"):
        return _Effect(13, 13, 0, WORD)
    if name in _MULTIPLES:
        return _multiple(name, registers)
    if operands and decoded.writeback:
        return _written_back(operands)
    if name in ("mov", "movs") and len(operands) == 2 and registers[1] is not None:
        plain = operands[1].shift.type == arm.ARM_SFT_INVALID and registers[0] is not None
        plain = plain and registers[1] != 15
        return _Effect(registers[0], registers[1]) if plain else None
    if name == "adr" and registers[0] is not None:
        return _Effect(registers[0], 15, operands[1].imm % WORD, WORD)
    if name in ("add", "adds", "addw", "sub", "subs", "subw"):
        return _sum(operands, registers, -1 if name.startswith("sub") else 1)
    return None


def _multiple(name: str, registers: list[int | None]) -> _Effect | None:
    base, moved = registers[0], registers[1:]
    if base is None or (name.startswith("ld") and base in moved):
        return None
    # Words moved; a floating-point list may hold doubles, so that only words are sure.
    change = 4 * len(moved) * (-1 if name.endswith("db") else 1)
    modulus = WORD if name.startswith("v") else DOUBLE_WORD
    return _Effect(base, base, change % DOUBLE_WORD, modulus)


def _written_back(operands) -> _Effect | None:
    for index, operand in enumerate(operands):
        if operand.type == arm.ARM_OP_MEM:
            base = _NUMBERS.get(operand.mem.base)
            offset = operand.mem.disp
            last = operands[-1]
            if index + 1 < len(operands) and last.type == arm.ARM_OP_IMM:
                offset = -last.imm if last.subtracted else last.imm
            loaded = {_NUMBERS.get(other.reg) for other in operands[:index]}
            if base is not None and not operand.mem.index and base not in loaded:
                return _Effect(base, base, offset % DOUBLE_WORD)
    return None


def _sum(operands, registers: list[int | None], sign: int) -> _Effect | None:
    if not registers or registers[0] is None:
        return None
    source = registers[0] if len(operands) == 2 else registers[1]
    last = operands[-1]
    if source is None:
        return None
    if source == 15:
        immediate = last.type == arm.ARM_OP_IMM
        return _Effect(registers[0], 15, sign * last.imm % WORD, WORD) if immediate else None
    if last.type == arm.ARM_OP_IMM:
        return _Effect(registers[0], source, sign * last.imm % DOUBLE_WORD)
    if last.shift.type == arm.ARM_SFT_LSL and last.shift.value >= 2:
        modulus = DOUBLE_WORD if last.shift.value >= 3 else WORD
        return _Effect(registers[0], source, 0, modulus)
    return None
