"""One Thumb instruction, reduced to what costs cycles."""

from dataclasses import dataclass
from enum import Enum, auto


class Kind(Enum):
    """Timing classes of the Cortex-M4: instructions of a class cost alike."""

    ALU = auto()
    """Data processing, multiply, DSP: one cycle, result written back at its end."""
    NOP = auto()
    IT = auto()
    DIVIDE = auto()
    LOAD = auto()
    """One register from memory, in any addressing mode, exclusive loads too."""
    STORE = auto()
    """One register to memory at an immediate offset, pre- and post-indexed too."""
    STORE_INDEXED_BY_REGISTER = auto()
    LOAD_MULTIPLE = auto()
    """LDM, POP, LDRD, VLDM, VPOP, VLDR of a double."""
    STORE_MULTIPLE = auto()
    BRANCH = auto()
    """B, Bcc, BL, CBZ, CBNZ: the target is known from the code alone."""
    BRANCH_INDIRECT = auto()
    """BX, BLX, and data processing into the program counter: the target is a register."""
    BRANCH_TABLE = auto()
    BARRIER_FETCH = auto()
    """ISB: refills the pipeline."""
    FP_ARITHMETIC = auto()
    FP_MULTIPLY_ACCUMULATE = auto()
    FP_DIVIDE = auto()
    """VDIV and VSQRT."""
    FP_MOVE = auto()
    """Between registers, and status: no result latency."""
    FP_LOAD = auto()
    FP_STORE = auto()

    # Members are one of a kind: by identity, not by a name's hash, which is computed in Python.
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Access:
    """What a load or store asks of memory: `count` elements from `base` plus `offset` on."""

    base: int
    """Core register 0 to 15; 15 is the program counter, rounded down to a word."""
    offset: int | None
    """From the base to the lowest byte, as the access is made: 0 where the base moves afterwards.
    None: the offset is a register."""
    size_bytes: int
    """Of one element: 1, 2 or 4. What moves more than a word moves words."""
    count: int = 1
    index_shift: int = 0
    """Of an offset in a register, how far it is shifted left."""
    writes_back: bool = False
    """The base is changed: pre- and post-indexed, PUSH and POP, LDM and STM with `!`."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """Timing class, width, and the registers that can stall a neighbour.

    Registers are the numbers 0 to 15. A single-precision register is its number n in s<n>; a
    double counts as the two singles it covers.
    """

    kind: Kind
    wide: bool
    """32-bit encoding."""
    address_registers: frozenset[int] = frozenset()
    """Read by address generation, one cycle earlier than an operand."""
    results: frozenset[int] = frozenset()
    """Core registers written at the end of the instruction by the ALU, base write-back included."""
    loaded: frozenset[int] = frozenset()
    """Core registers that arrive from memory."""
    register_count: int = 0
    """Words that a load or store multiple moves; core registers that a VMOV moves."""
    writes_pc: bool = False
    it_length: int = 0
    """Instructions that this IT makes conditional."""
    divide: tuple[bool, int, int] | None = None
    """(signed, dividend register, divisor register)."""
    fp_sources: frozenset[int] = frozenset()
    """Read in the first cycle; the addend of a multiply-accumulate is not among them."""
    fp_results: frozenset[int] = frozenset()
    access: Access | None = None
    """Of a load, store or table branch."""
    conditional: bool = False
    """A branch that its own encoding makes conditional: Bcc, CBZ, CBNZ."""

    @property
    def always_taken(self) -> bool:
        """Whether it branches whenever it executes; under an IT it may not execute."""
        return self.writes_pc and not self.conditional
