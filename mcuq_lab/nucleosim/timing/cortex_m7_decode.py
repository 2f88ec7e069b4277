"""Thumb-2 machine code to operations of the Cortex-M7; capstone does the decoding."""

from functools import lru_cache

import capstone
from capstone import arm

from mcuq_lab.nucleosim.timing.cortex_m7_decode_fp import decode_fp
from mcuq_lab.nucleosim.timing.cortex_m7_latencies import Need, Producer
from mcuq_lab.nucleosim.timing.cortex_m7_operation import (
    FLAGS,
    GE_FLAGS,
    Early,
    Operation,
    Shifter,
    Unit,
)
from mcuq_lab.nucleosim.timing.decode import decode
from mcuq_lab.nucleosim.timing.instruction import Instruction, Kind

PC = 15
LR = 14

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
_DECODER.detail = True
_CORE = {
    **{getattr(arm, f"ARM_REG_R{n}"): n for n in range(13)},
    arm.ARM_REG_SP: 13,
    arm.ARM_REG_LR: LR,
    arm.ARM_REG_PC: PC,
}

_SHIFTS = frozenset(("lsl", "lsr", "asr", "ror"))
_EARLY = frozenset(("add", "addw", "sub", "subw", "mov", "movw"))
_COMPARES = frozenset(("cmp", "cmn", "tst", "teq"))
_READ_CARRY = frozenset(("adc", "sbc", "rrx", "rsc"))
_REVERSALS = frozenset(("rev", "rev16", "revsh", "rbit"))
_LANES = ("add8", "add16", "sub8", "sub16", "asx", "sax")
_EXTENSIONS = ("b", "h", "b16")
_SATURATIONS = frozenset(
    (
        *("ssat", "usat", "ssat16", "usat16", "qadd", "qsub", "qdadd", "qdsub"),
        *("usad8", "usada8"),
        *(prefix + lanes for prefix in ("q", "uq") for lanes in _LANES),
    )
)
_EXTRACTS = frozenset(("ubfx", "sbfx"))
_SHIFT_LAST = frozenset(
    (
        *("bfi", "bfc", "pkhbt", "pkhtb"),
        *(f"{sign}xta{part}" for sign in "su" for part in _EXTENSIONS),
    )
)
"""Their last register goes through the shifter."""
_SET_GE = frozenset(sign + lanes for sign in "su" for lanes in _LANES)
_PARALLEL = _SET_GE | frozenset(
    (
        *("clz", "sel"),
        *(f"{sign}xt{part}" for sign in "su" for part in _EXTENSIONS),
        *(f"{sign}h{lanes}" for sign in "su" for lanes in _LANES),
    )
)
_LONG_PRODUCTS = frozenset(("umull", "smull"))
_LONG_ACCUMULATES = ("umlal", "smlal", "umaal", "smlald", "smlsld")
_ACCUMULATES = ("mla", "mls", "smla", "smls", "smmla", "smmls")
_PRODUCTS = ("mul", "smul", "smmul", "smuad", "smusd")
_SPECIAL = frozenset(
    ("mrs", "msr", "cps", "dsb", "dmb", "clrex", "svc", "bkpt", "wfi", "wfe", "sev", "yield", "udf")
)

DIVIDE_LEAST_CYCLES = 3


@lru_cache(maxsize=1 << 16)
def decode_operation(encoding: bytes) -> Operation:
    """Timing view of one instruction of two or four bytes; total, like `decode`."""
    instruction = decode(encoding)
    decoded = next(_DECODER.disasm(encoding, 0, 1), None)
    if decoded is None:
        return Operation(instruction, Unit.ALL)
    name = decoded.insn_name()
    if instruction.kind in (Kind.NOP, Kind.IT):
        return Operation(instruction, Unit.NONE)
    if instruction.kind is Kind.BRANCH_TABLE:
        # LLVM: alone, two cycles to issue.
        reads = _address_reads(decoded, instruction)
        return Operation(instruction, Unit.ALL, reads, cycles=2)
    if name.startswith(("v", "fcons", "fmstat")):
        return decode_fp(decoded, name, instruction)
    if instruction.access is not None:
        return _memory(decoded, name, instruction)
    if name == "pld":
        # JNK0LE: waits for its address like a load.
        return Operation(instruction, Unit.LOAD, _memory_operand(decoded))
    if instruction.writes_pc:
        return _branch(decoded, name, instruction)
    if instruction.kind is Kind.BARRIER_FETCH or name in _SPECIAL:
        return Operation(instruction, Unit.ALL, writes=_results(decoded, Producer.LATE_ALU))
    if instruction.divide is not None:
        _, dividend, divisor = instruction.divide
        # LLVM: alone; loaded words come a cycle later than to the ALU.
        reads = ((dividend, Need.FACTOR), (divisor, Need.FACTOR))
        writes = _results(decoded, Producer.LATE_ALU)
        return Operation(instruction, Unit.ALL, reads, writes, cycles=DIVIDE_LEAST_CYCLES)
    return _product(decoded, name, instruction) or _data_processing(decoded, name, instruction)


def _registers(decoded: capstone.CsInsn) -> list[int]:
    return [
        _CORE[operand.reg]
        for operand in decoded.operands
        if operand.type == arm.ARM_OP_REG and operand.reg in _CORE
    ]


def _results(decoded: capstone.CsInsn, producer: Producer) -> tuple[tuple[int, Producer], ...]:
    written = [_CORE[id] for id in decoded.regs_access()[1] if id in _CORE]
    # Capstone's own account of the flags is wrong for ADC: the mnemonic's S tells.
    name = decoded.insn_name()
    sets = name in _COMPARES or decoded.mnemonic.split(".")[0] == name + "s"
    flags = ((FLAGS, Producer.FLAGS),) if sets else ()
    if name in _SET_GE:
        flags = ((GE_FLAGS, Producer.FLAGS),)
    return tuple((register, producer) for register in written if register != PC) + flags


def _address_reads(
    decoded: capstone.CsInsn, instruction: Instruction
) -> tuple[tuple[int, Need], ...]:
    """Base and index of an access; LDM, PUSH and their kin have no memory operand."""
    reads = _memory_operand(decoded)
    if not reads and instruction.access.base != PC:
        return ((instruction.access.base, Need.ADDRESS),)
    return reads


def _memory_operand(decoded: capstone.CsInsn) -> tuple[tuple[int, Need], ...]:
    for operand in decoded.operands:
        if operand.type == arm.ARM_OP_MEM:
            named = ((operand.mem.base, Need.ADDRESS), (operand.mem.index, Need.INDEX))
            return tuple(
                (_CORE[register], need)
                for register, need in named
                if register in _CORE and _CORE[register] != PC
            )
    return ()


def _memory(decoded: capstone.CsInsn, name: str, instruction: Instruction) -> Operation:
    access = instruction.access
    reads = _address_reads(decoded, instruction)
    back = ((access.base, Producer.WRITE_BACK),) if access.writes_back else ()
    registers = _registers(decoded)
    if name.startswith(("ldm", "stm")):
        registers = registers[1:]
    multiple = access.count > 1 or name.startswith(("ldm", "stm", "push", "pop"))
    # JNK0LE: a pair of registers a cycle, alone.
    cycles = (access.count + 1) // 2
    if name.startswith(("ld", "pop")):
        producer = Producer.WORD if access.size_bytes == 4 else Producer.PART
        loaded = tuple((register, producer) for register in registers)
        unit = Unit.ALL if multiple else Unit.LOAD
        # LLVM: exclusive loads from the older slot only.
        exclusive = name.startswith("ldrex")
        return Operation(
            instruction,
            unit,
            reads,
            back + loaded,
            older_slot_only=exclusive,
            cycles=cycles,
        )
    if name.startswith("strex"):  # LLVM: alone
        reads += ((registers[1], Need.STORED),)
        return Operation(instruction, Unit.ALL, reads, ((registers[0], Producer.WORD),))
    reads += tuple((register, Need.STORED) for register in registers)
    return Operation(instruction, Unit.ALL if multiple else Unit.STORE, reads, back, cycles=cycles)


def _branch(decoded: capstone.CsInsn, name: str, instruction: Instruction) -> Operation:
    writes = ((LR, Producer.LATE_ALU),) if name in ("bl", "blx") else ()
    return Operation(instruction, Unit.BRANCH, (), writes)


def _product(decoded: capstone.CsInsn, name: str, instruction: Instruction) -> Operation | None:
    registers = _registers(decoded)
    if name in _LONG_PRODUCTS:
        factors, addends = registers[2:], []
    elif name.startswith(_LONG_ACCUMULATES):
        factors, addends = registers[2:], registers[:2]
    elif name.startswith(_ACCUMULATES):
        factors, addends = registers[1:3], registers[3:]
    elif name.startswith(_PRODUCTS):
        factors, addends = registers[1:], []
    else:
        return None
    reads = tuple((register, Need.FACTOR) for register in factors)
    reads += tuple((register, Need.ADDEND) for register in addends)
    return Operation(instruction, Unit.MULTIPLIER, reads, _results(decoded, Producer.PRODUCT))


def _data_processing(decoded: capstone.CsInsn, name: str, instruction: Instruction) -> Operation:
    sources = _sources(decoded, name)
    carry = ((FLAGS, Need.LATE),) if name in _READ_CARRY else ()
    if name in _EXTRACTS or name in _REVERSALS:
        producer = Producer.REVERSAL if name in _REVERSALS else Producer.LATE_ALU
        reads = tuple((register, Need.SHIFTER) for register, _ in sources)
        return _bits(decoded, instruction, reads, producer, Shifter.BITS)
    if name in _SHIFT_LAST:
        last = len(sources) - 1
        reads = tuple(
            (register, Need.SHIFTER if n == last or name == "pkhtb" else Need.LATE)
            for n, (register, _) in enumerate(sources)
        )
        if name == "bfc":
            reads = tuple((register, Need.LATE) for register, _ in sources)
        return _bits(decoded, instruction, reads, Producer.LATE_ALU, Shifter.BITS)
    if name in _SATURATIONS:
        early = name in ("ssat", "usat", "qdadd", "qdsub")
        reads = tuple((register, Need.SHIFTER if early else Need.LATE) for register, _ in sources)
        return _bits(decoded, instruction, reads, Producer.SATURATION, Shifter.NONE)
    if name in _PARALLEL:
        reads = tuple((register, Need.LATE) for register, _ in sources)
        if name == "sel":
            reads += ((GE_FLAGS, Need.LATE),)
        return _bits(decoded, instruction, reads, Producer.LATE_ALU, Shifter.NONE)
    if name in _SHIFTS:
        reads = tuple((register, Need.LATE) for register, _ in sources)
        return Operation(
            instruction,
            Unit.ALU,
            reads,
            _results(decoded, Producer.LATE_ALU),
            Shifter.SHIFT,
            Early.FROM_EITHER_SLOT,
        )
    shifted = any(through_shifter for _, through_shifter in sources)
    operand = shifted or _rotated_constant(decoded.bytes)
    reads = tuple(
        (register, Need.SHIFTER if through_shifter else Need.LATE)
        for register, through_shifter in sources
    )
    early = Early.FROM_OLDER_SLOT if name in _EARLY and not operand else Early.NO
    return Operation(
        instruction,
        Unit.ALU,
        reads + carry,
        _results(decoded, Producer.LATE_ALU),
        Shifter.OPERAND if operand else Shifter.NONE,
        early,
    )


def _bits(
    decoded: capstone.CsInsn,
    instruction: Instruction,
    reads: tuple[tuple[int, Need], ...],
    producer: Producer,
    shifter: Shifter,
) -> Operation:
    # JNK0LE: in the older slot.
    return Operation(
        instruction,
        Unit.BITS,
        reads,
        _results(decoded, producer),
        shifter,
        older_slot_only=True,
    )


_KEEPS_RESULT = frozenset(("bfi", "bfc", "movt"))
"""Their first operand is read as well, and capstone says so."""


def _sources(decoded: capstone.CsInsn, name: str) -> list[tuple[int, bool]]:
    """Registers read, each with whether it is shifted on its way in; the result's left out."""
    operands = [
        operand
        for operand in decoded.operands
        if operand.type == arm.ARM_OP_REG and operand.reg in _CORE
    ]
    compare = name in _COMPARES
    first_read = compare or name in _KEEPS_RESULT or (operands and operands[0].access & 1)
    return [
        (_CORE[operand.reg], operand.shift.type != arm.ARM_SFT_INVALID)
        for n, operand in enumerate(operands)
        if (n > 0 or first_read) and operand.reg != arm.ARM_REG_PC
    ]


def _rotated_constant(encoding: bytes) -> bool:
    """Whether a 32-bit data-processing instruction takes a modified immediate that is a rotated
    byte (ARMv7-M ARM, A5.3.2); repeated bytes are none."""
    if len(encoding) != 4:
        return False
    first = int.from_bytes(encoding[:2], "little")
    second = int.from_bytes(encoding[2:], "little")
    if first & 0xFA00 != 0xF000 or second & 0x8000:
        return False
    return bool(first & 0x0400 or second & 0x4000)
