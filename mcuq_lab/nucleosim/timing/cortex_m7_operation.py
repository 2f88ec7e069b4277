"""One Thumb instruction as the Cortex-M7 sees it: unit, slots, operands and results."""

from dataclasses import dataclass
from enum import Enum, auto

from mcuq_lab.nucleosim.timing.cortex_m7_latencies import Need, Producer
from mcuq_lab.nucleosim.timing.instruction import Instruction

FLAGS = 16
"""Numbers beyond the core registers: the flags, those that SEL reads, the FPU's s0 to s31 from
FP_FIRST on, and two marks that stand for the FPU after a multiply-accumulate."""
GE_FLAGS = 17
FP_FIRST = 32
ACCUMULATE_MARK = 64
CHAINED_MARK = 65


class Unit(Enum):
    """What an instruction occupies for a cycle, and so what it cannot be issued with."""

    NONE = auto()
    """NOP, IT: a slot and nothing else."""
    ALU = auto()
    BITS = auto()
    """Bit fields, extensions and the DSP instructions that do not multiply."""
    MULTIPLIER = auto()
    LOAD = auto()
    STORE = auto()
    BRANCH = auto()
    FP_ARITHMETIC = auto()
    FP_ACCUMULATE = auto()
    FP_MOVE = auto()
    FP_IMMEDIATE = auto()
    FP_LOAD = auto()
    FP_STORE = auto()
    ALL = auto()
    """Issues alone."""


class Shifter(Enum):
    """Use of the shifter in the early ALU."""

    NONE = auto()
    SHIFT = auto()
    """The instruction is a shift: it may execute late as well."""
    OPERAND = auto()
    """A shifted register or rotated constant as second operand."""
    BITS = auto()
    """Bit fields and what extracts, packs or reverses."""


class Early(Enum):
    """Whether the early ALU can execute it, if its operands are there."""

    NO = auto()
    FROM_OLDER_SLOT = auto()
    FROM_EITHER_SLOT = auto()


@dataclass(frozen=True, slots=True)
class Operation:
    """Timing view of one instruction."""

    instruction: Instruction
    unit: Unit
    reads: tuple[tuple[int, Need], ...] = ()
    writes: tuple[tuple[int, Producer], ...] = ()
    """In the order of the encoding, which for a load multiple is that of arrival."""
    shifter: Shifter = Shifter.NONE
    early: Early = Early.NO
    older_slot_only: bool = False
    cycles: int = 1
    """That it holds the issue stage."""
