"""Floating-point instructions as operations of the Cortex-M7."""

import capstone
from capstone import arm

from mcuq_lab.nucleosim.timing.cortex_m7_latencies import Need, Producer
from mcuq_lab.nucleosim.timing.cortex_m7_operation import (
    ACCUMULATE_MARK,
    CHAINED_MARK,
    FLAGS,
    FP_FIRST,
    Operation,
    Unit,
)
from mcuq_lab.nucleosim.timing.instruction import Instruction

_CORE = {
    **{getattr(arm, f"ARM_REG_R{n}"): n for n in range(13)},
    arm.ARM_REG_SP: 13,
    arm.ARM_REG_LR: 14,
}
_SINGLES = {getattr(arm, f"ARM_REG_S{n}"): (FP_FIRST + n,) for n in range(32)}
_DOUBLES = {
    getattr(arm, f"ARM_REG_D{n}"): (FP_FIRST + 2 * n, FP_FIRST + 2 * n + 1) for n in range(16)
}
_FUSED = frozenset(("vfma", "vfms", "vfnma", "vfnms"))
_CHAINED = frozenset(("vmla", "vmls", "vnmla", "vnmls"))
_MULTIPLICATIONS = frozenset(("vmul", "vnmul"))
_SELECTS = frozenset(("vseleq", "vselge", "vselgt", "vselvs"))

SINGLE_CYCLES = {"vdiv": 16, "vsqrt": 14}
"""That the pipeline stands still behind it (JNK0LE)."""
DOUBLE_CYCLES = {
    # JNK0LE, CPI table, column "different exponents"; of chained accumulates the later ones.
    "vadd": 2,
    "vsub": 2,
    "vmul": 5,
    "vnmul": 5,
    "vdiv": 30,
    "vsqrt": 30,
    **dict.fromkeys(_FUSED, 7),
    **dict.fromkeys(_CHAINED, 7),
}


def decode_fp(decoded: capstone.CsInsn, name: str, instruction: Instruction) -> Operation:
    """Timing view of an instruction of the FPU."""
    core = [
        _CORE[operand.reg]
        for operand in decoded.operands
        if operand.type == arm.ARM_OP_REG and operand.reg in _CORE
    ]
    fp = [
        _SINGLES.get(operand.reg) or _DOUBLES[operand.reg]
        for operand in decoded.operands
        if operand.type == arm.ARM_OP_REG and operand.reg in _SINGLES | _DOUBLES
    ]
    double = any(len(registers) == 2 for registers in fp)
    if instruction.access is not None:
        return _memory(instruction, name, fp, double)
    if name in ("vmrs", "vmsr", "fmstat"):
        results = tuple((register, Producer.FROM_FPU) for register in core if name == "vmrs")
        return Operation(instruction, Unit.ALL, writes=((FLAGS, Producer.FLAGS), *results))
    if name in ("fconsts", "fconstd"):
        busy = ((ACCUMULATE_MARK, Need.AFTER_ACCUMULATE),)
        return Operation(instruction, Unit.FP_IMMEDIATE, busy, _writes(fp[:1], Producer.FP_MOVED))
    if name == "vmov":
        return _move(decoded, instruction, core, fp)
    return _arithmetic(instruction, name, fp, double)


def _reads(registers: list[tuple[int, ...]], need: Need) -> tuple[tuple[int, Need], ...]:
    return tuple((register, need) for group in registers for register in group)


def _writes(
    registers: list[tuple[int, ...]], producer: Producer
) -> tuple[tuple[int, Producer], ...]:
    return tuple((register, producer) for group in registers for register in group)


def _memory(
    instruction: Instruction, name: str, fp: list[tuple[int, ...]], double: bool
) -> Operation:
    access = instruction.access
    reads = ((access.base, Need.ADDRESS),) if access.base != 15 else ()
    writes = ((access.base, Producer.WRITE_BACK),) if access.writes_back else ()
    multiple = double or name not in ("vldr", "vstr")
    if multiple:
        reads += ((ACCUMULATE_MARK, Need.AFTER_ACCUMULATE),)
    cycles = (access.count + 1) // 2
    if name.startswith(("vldr", "vldm", "vpop")):
        writes += _writes(fp, Producer.FP_WORD)
        return Operation(
            instruction, Unit.ALL if multiple else Unit.FP_LOAD, reads, writes, cycles=cycles
        )
    reads += _reads(fp, Need.FP_STORED)
    return Operation(
        instruction, Unit.ALL if multiple else Unit.FP_STORE, reads, writes, cycles=cycles
    )


def _move(
    decoded: capstone.CsInsn,
    instruction: Instruction,
    core: list[int],
    fp: list[tuple[int, ...]],
) -> Operation:
    # JNK0LE: two registers at once issue alone.
    unit = Unit.FP_MOVE if len(core) < 2 else Unit.ALL
    if not core:
        return Operation(
            instruction,
            unit,
            _reads(fp[1:], Need.FP_TO_FP),
            _writes(fp[:1], Producer.FP_MOVED),
        )
    if decoded.operands[0].reg in _CORE:
        writes = tuple((register, Producer.FROM_FPU) for register in core)
        return Operation(instruction, unit, _reads(fp, Need.FP_TO_CORE), writes)
    reads = tuple((register, Need.TO_FPU) for register in core)
    return Operation(instruction, unit, reads, _writes(fp, Producer.FP_MOVED))


def _arithmetic(
    instruction: Instruction, name: str, fp: list[tuple[int, ...]], double: bool
) -> Operation:
    cycles = (DOUBLE_CYCLES if double else SINGLE_CYCLES).get(name, 1)
    busy = ((ACCUMULATE_MARK, Need.AFTER_ACCUMULATE),)
    if double:
        # JNK0LE: results of doubles are there after three cycles, multiply-accumulates included.
        sources = fp if name in _FUSED | _CHAINED or name.startswith("vcmp") else fp[1:]
        writes = () if name.startswith("vcmp") else _writes(fp[:1], Producer.FP_RESULT)
        return Operation(
            instruction,
            Unit.FP_ARITHMETIC,
            _reads(sources, Need.FP_TERM),
            writes,
            older_slot_only=True,
            cycles=cycles,
        )
    if name in _FUSED:
        reads = _reads(fp[:1], Need.FUSED_ADDEND) + _reads(fp[1:], Need.FP_FACTOR)
        reads += ((CHAINED_MARK, Need.FUSED_START),)
        writes = _writes(fp[:1], Producer.FUSED)
        writes += ((ACCUMULATE_MARK, Producer.ACCUMULATE_BUSY),)
        return Operation(instruction, Unit.FP_ACCUMULATE, reads, writes)
    if name in _CHAINED:
        reads = _reads(fp[:1], Need.CHAINED_ADDEND) + _reads(fp[1:], Need.FP_FACTOR)
        writes = _writes(fp[:1], Producer.CHAINED)
        writes += ((ACCUMULATE_MARK, Producer.ACCUMULATE_BUSY),)
        writes += ((CHAINED_MARK, Producer.CHAINED_BUSY),)
        return Operation(instruction, Unit.FP_ACCUMULATE, reads, writes)
    if name in _MULTIPLICATIONS:
        reads = _reads(fp[1:], Need.FP_FACTOR)
        return Operation(
            instruction, Unit.FP_ARITHMETIC, reads, _writes(fp[:1], Producer.FP_RESULT)
        )
    if name.startswith("vcmp"):
        return Operation(instruction, Unit.FP_ARITHMETIC, busy + _reads(fp, Need.FP_TERM))
    flags = ((FLAGS, Need.SHIFTER),) if name in _SELECTS else ()
    return Operation(
        instruction,
        Unit.FP_ARITHMETIC,
        busy + flags + _reads(fp[1:], Need.FP_TERM),
        _writes(fp[:1], Producer.FP_RESULT),
        older_slot_only=name in _SELECTS,
        cycles=cycles,
    )
