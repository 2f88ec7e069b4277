"""What the scheduler must know of a Thumb-2 instruction, read from its text as generators print it.

Only mnemonics of generated tiles are known. What is not known, branches and labels among it, gives
None: it stays where it is, and nothing is moved across it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

FLAGS = "flags"
MEMORY = "memory"
"""Stands for all of memory: what is loaded is read, what is stored is written."""


class Unit(Enum):
    """Who executes it, of which there may be one only; two ALUs and two loads at once."""

    ALU = "alu"
    BITS = "bits"
    MULTIPLIER = "multiplier"
    LOAD = "load"
    STORE = "store"
    MOVE = "move"
    ALONE = "alone"


class Need(Enum):
    """What an operand is needed for, which says when."""

    ADDRESS = 0
    SHIFTER = 1
    ALU = 2
    FACTOR = 3
    ADDEND = 4
    STORED = 5
    MOVED = 6


class Producer(Enum):
    """What made a result."""

    SIMPLE = "simple"
    ALU = "alu"
    SATURATION = "saturation"
    PRODUCT = "product"
    WORD = "word"
    PART = "part"
    FROM_FPU = "from fpu"
    TO_FPU = "to fpu"
    FLAGS = "flags"


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        line: the text.
        unit, producer: who executes it, and the kind of its results.
        reads: registers, FLAGS and MEMORY, and what for.
        writes: the same.
        shifts: an operand is shifted on its way into the ALU.
        bank: of loads relative to a base: which word of a double word, and of what base.
    """

    line: str
    unit: Unit
    producer: Producer
    reads: tuple[tuple[str, Need], ...]
    writes: tuple[str, ...]
    shifts: bool = False
    bank: tuple[str, int] | None = None


_REGISTER = re.compile(r"\b(r\d+|s\d+|lr|sp)\b")
_SIMPLE = frozenset(("add", "adds", "addw", "sub", "subs", "subw", "mov", "movs", "movw"))
_LOGIC = frozenset(("orr", "orrs", "and", "ands", "eor", "bic", "mvn", "rsb"))
_SHIFTS = frozenset(("lsl", "lsls", "lsr", "lsrs", "asr", "asrs", "ror", "rrx", "rrxs"))
_CARRY = frozenset(("adc", "adcs", "sbc", "rrx", "rrxs"))
_FLAG_SETTERS = frozenset(("adds", "subs", "movs", "orrs", "ands", "lsls", "lsrs", "asrs"))
_FLAG_SETTERS |= frozenset(("adcs", "rrxs"))
_EXTRACTS = frozenset(("ubfx", "sbfx", "uxtb16", "sxtb16", "uxtb", "uxth", "sxtb", "sxth"))
_INSERTS = frozenset(("bfi", "pkhbt", "pkhtb", "movt"))
_SATURATIONS = frozenset(("usat", "ssat", "usat16", "ssat16"))
_PARALLEL = frozenset(("uadd16", "sadd16", "usub16", "ssub16", "uadd8"))
_LONG_ACCUMULATES = frozenset(("smlal", "umlal", "smlald"))
_ACCUMULATES = frozenset(("smlad", "smladx", "smlabb", "smlabt", "smlatb", "smlatt", "mla"))
_ACCUMULATES |= frozenset(("smmla", "smlawb", "smlawt", "mls"))
_PRODUCTS = frozenset(("mul", "smmul", "smuad", "smulbb", "smultt"))
_LOADS = frozenset(("ldr", "ldrb", "ldrh", "ldrsb", "ldrsh"))
_STORES = frozenset(("str", "strb", "strh"))
_KEEPS_TARGET = frozenset(("bfi", "movt"))


def parse(line: str) -> Instruction | None:
    """The instruction of one line; None for what must stay in its place."""
    mnemonic, _, text = line.partition(" ")
    name = mnemonic.removesuffix(".w").removesuffix(".n")
    registers = _REGISTER.findall(text)
    if not registers:
        return None
    if name in _LOADS or name in _STORES:
        return _access(line, name, text)
    if name == "vmov":
        return _move(line, registers)
    if name in ("cmp", "tst"):
        reads = tuple((register, Need.ALU) for register in registers)
        return Instruction(line, Unit.ALU, Producer.FLAGS, reads, (FLAGS,), "#" in text[3:])
    if name in _LONG_ACCUMULATES:
        low, high, *factors = registers
        return _product(line, factors, (low, high), (low, high))
    if name == "smull":
        low, high, *factors = registers
        return _product(line, factors, (), (low, high))
    if name in _ACCUMULATES:
        return _product(line, registers[1:3], registers[3:], registers[:1])
    if name in _PRODUCTS:
        return _product(line, registers[1:] if len(registers) > 2 else registers, (), registers[:1])
    return _data_processing(line, name, text, registers)


def _product(
    line: str, factors: Sequence[str], addends: Sequence[str], written: Sequence[str]
) -> Instruction:
    reads = tuple((register, Need.FACTOR) for register in factors)
    reads += tuple((register, Need.ADDEND) for register in addends)
    return Instruction(line, Unit.MULTIPLIER, Producer.PRODUCT, reads, tuple(written))


def _move(line: str, registers: list[str]) -> Instruction | None:
    if len(registers) != 2:
        return None
    to, source = registers
    producer = Producer.TO_FPU if to.startswith("s") else Producer.FROM_FPU
    return Instruction(line, Unit.MOVE, producer, ((source, Need.MOVED),), (to,))


def _access(line: str, name: str, text: str) -> Instruction:
    target, address = text.split(",", 1)
    used = _REGISTER.findall(address)
    reads = tuple((register, Need.ADDRESS) for register in used)
    moves_base = not address.rstrip().endswith("]")
    back = (used[0],) if moves_base else ()
    if name in _STORES:
        reads += ((target.strip(), Need.STORED),)
        return Instruction(line, Unit.STORE, Producer.SIMPLE, reads, (*back, MEMORY))
    offset = re.fullmatch(r"\s*\[\w+(?:, #(-?\d+))?\]\s*", address)
    bank = (used[0], int(offset[1] or 0) // 4 % 2) if offset else None
    producer = Producer.WORD if name == "ldr" else Producer.PART
    reads += ((MEMORY, Need.ADDRESS),)
    return Instruction(line, Unit.LOAD, producer, reads, (target.strip(), *back), bank=bank)


def _data_processing(line: str, name: str, text: str, registers: list[str]) -> Instruction | None:
    target, *sources = registers
    shifts = re.search(r"\b(lsl|lsr|asr|ror) #", text) is not None
    two_operands = text.count(",") == 1 and name not in ("mov", "movs", "mvn", "movw")
    if name in _KEEPS_TARGET or (two_operands and name not in _EXTRACTS):
        sources = [target, *sources]
    need = [
        Need.SHIFTER if shifts and register == sources[-1] else Need.ALU for register in sources
    ]
    unit, producer = Unit.ALU, Producer.ALU
    if name in _SIMPLE:
        producer = Producer.ALU if shifts else Producer.SIMPLE
    elif name in _SHIFTS:
        producer, need = Producer.SIMPLE, [Need.SHIFTER] * len(sources)
    elif name in _EXTRACTS or name in _INSERTS:
        unit, need = Unit.BITS, [Need.SHIFTER] * len(sources)
    elif name in _SATURATIONS:
        unit, producer, need = Unit.BITS, Producer.SATURATION, [Need.SHIFTER] * len(sources)
    elif name in _PARALLEL:
        unit = Unit.BITS
    elif name not in _LOGIC and name not in _CARRY:
        return None
    reads = tuple(zip(sources, need, strict=True))
    if name in _CARRY:
        reads += ((FLAGS, Need.ALU),)
    # In unified syntax, an S in the name is all that sets flags.
    writes = (target, FLAGS) if name in _FLAG_SETTERS else (target,)
    return Instruction(line, unit, producer, reads, writes, shifts and unit is Unit.ALU)
