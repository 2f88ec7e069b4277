"""Which two neighbouring instructions the Cortex-M7 issues in one cycle, operands apart.

JNK0LE  github.com/jnk0le/random, pipeline cycle test/doc/cortex_m7.md, measured on STM32H743
QUINA   quinapalus.com/cm7cycles.html, measured on STM32H730
LLVM    ARMScheduleM7.td, written by Arm
"""

from typing import NamedTuple

from mcuq_lab.nucleosim.timing.cortex_m7_operation import Operation, Shifter, Unit


class Slot(NamedTuple):
    """The older instruction of a cycle, while the younger slot is open."""

    unit: Unit
    shifter: Shifter
    bank: int | None
    """Word of the double word that a load reads, 0 or 1; None: not known, or no load."""


_EXCLUDED = (
    # One unit of each of these. JNK0LE: bit fields and DSP, multiplier, stores, FPU.
    (Unit.BITS, Unit.BITS),
    (Unit.MULTIPLIER, Unit.MULTIPLIER),
    (Unit.STORE, Unit.STORE),
    (Unit.STORE, Unit.FP_STORE),
    (Unit.FP_STORE, Unit.FP_STORE),
    (Unit.FP_ARITHMETIC, Unit.FP_ARITHMETIC),
    (Unit.FP_ARITHMETIC, Unit.FP_ACCUMULATE),
    (Unit.FP_ACCUMULATE, Unit.FP_ACCUMULATE),
    (Unit.FP_IMMEDIATE, Unit.FP_IMMEDIATE),
    # LLVM: one branch unit.
    (Unit.BRANCH, Unit.BRANCH),
    # JNK0LE: a multiplication cannot go with a store, whatever its operands.
    (Unit.MULTIPLIER, Unit.STORE),
    (Unit.MULTIPLIER, Unit.FP_STORE),
    # JNK0LE: a floating-point multiply-accumulate cannot go with VLDR, VSTR, VMOV.
    (Unit.FP_ACCUMULATE, Unit.FP_LOAD),
    (Unit.FP_ACCUMULATE, Unit.FP_STORE),
    (Unit.FP_ACCUMULATE, Unit.FP_MOVE),
    (Unit.FP_ACCUMULATE, Unit.FP_IMMEDIATE),
)
_EXCLUDED_UNITS = frozenset(pair for a, b in _EXCLUDED for pair in ((a, b), (b, a)))

_EXCLUDED_SHIFTERS = frozenset(
    # JNK0LE, table of operand2 (older, younger), and the paragraph on bit fields below it.
    (
        (Shifter.OPERAND, Shifter.OPERAND),
        (Shifter.SHIFT, Shifter.OPERAND),
        (Shifter.BITS, Shifter.OPERAND),
        (Shifter.OPERAND, Shifter.BITS),
    )
)
LOADS = frozenset((Unit.LOAD, Unit.FP_LOAD))
MOVES_OF_FPU = frozenset((Unit.FP_LOAD, Unit.FP_STORE, Unit.FP_MOVE, Unit.FP_IMMEDIATE))
"""Not from the younger slot in the three cycles after a multiply-accumulate (JNK0LE)."""


def open_slot(operation: Operation, bank: int | None) -> Slot | None:
    """What an instruction in the older slot leaves for a younger one; None: nothing."""
    if operation.unit is Unit.ALL:
        return None
    return Slot(operation.unit, operation.shifter, bank)


def may_join(slot: Slot, operation: Operation, bank: int | None) -> bool:
    """Whether the units let `operation` issue in the same cycle as the older instruction."""
    if operation.unit is Unit.ALL or operation.older_slot_only:
        return False
    if (slot.unit, operation.unit) in _EXCLUDED_UNITS:
        return False
    if (slot.shifter, operation.shifter) in _EXCLUDED_SHIFTERS:
        return False
    if slot.unit in LOADS and operation.unit in LOADS:
        # JNK0LE: two loads from different banks; QUINA: 2 cycles for loads from one word.
        return None not in (slot.bank, bank) and slot.bank != bank
    return True
