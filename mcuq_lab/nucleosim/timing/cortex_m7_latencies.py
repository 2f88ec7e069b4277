"""Cortex-M7: how many cycles after a result's instruction its consumer may issue.

Two ALUs a cycle apart make most of the table: an operand of a shifter or an address is needed in
the first execution stage, that of an ALU operation in the second, an addend of a multiply-
accumulate and the data of a store later still. So the latency depends on who produces and on who
consumes. 0: both may issue in one cycle, the producer first.

JNK0LE  github.com/jnk0le/random, pipeline cycle test/doc/cortex_m7.md, measured on STM32H743
LLVM    ARMScheduleM7.td and ARMLatencyMutations.cpp, written by Arm
"""

from enum import IntEnum, auto


class Need(IntEnum):
    """What an operand is needed for, which says when."""

    ADDRESS = 0
    """Base of an access."""
    INDEX = auto()
    """Offset of an access in a register."""
    SHIFTER = auto()
    """Operand that is shifted, extracted or reversed on its way into the ALU."""
    EARLY = auto()
    """Operand of what may execute in the early ALU: missed, it executes late, without a stall."""
    LATE = auto()
    """Operand of the late ALU; flags that a carry or a condition reads."""
    FACTOR = auto()
    ADDEND = auto()
    """Of an integer multiply-accumulate."""
    STORED = auto()
    TO_FPU = auto()
    """Core register that VMOV takes into the FPU."""
    RESOLUTION = auto()
    """Flags of a branch that is to be resolved early; no operand waits for it."""
    FP_TERM = auto()
    """Operand of anything in the FPU that is not listed below."""
    FP_FACTOR = auto()
    """Multiplicand of a multiplication or a multiply-accumulate."""
    FUSED_ADDEND = auto()
    CHAINED_ADDEND = auto()
    """Addend of VMLA and its kin, which round twice."""
    FP_STORED = auto()
    FP_TO_CORE = auto()
    FP_TO_FP = auto()
    """Register that VMOV copies within the FPU."""
    AFTER_ACCUMULATE = auto()
    """The FPU after a multiply-accumulate, for what cannot follow it at once."""
    FUSED_START = auto()
    """The multiplier after VMLA, for VFMA."""


class Producer(IntEnum):
    """What made a result."""

    EARLY_ALU = 0
    WRITE_BACK = auto()
    """Base register that an access moved."""
    LATE_ALU = auto()
    REVERSAL = auto()
    """REV, REV16, REVSH, RBIT: in the early ALU, but behind its shifter."""
    SATURATION = auto()
    PRODUCT = auto()
    """Every integer multiplication and multiply-accumulate."""
    WORD = auto()
    """Loaded word."""
    PART = auto()
    """Loaded byte or halfword."""
    FLAGS = auto()
    FROM_FPU = auto()
    """Core register that VMOV wrote."""
    FP_RESULT = auto()
    FUSED = auto()
    """VFMA, VFMS and their negations."""
    CHAINED = auto()
    """VMLA, VMLS and their negations."""
    FP_WORD = auto()
    """Loaded into the FPU."""
    FP_MOVED = auto()
    """VMOV into an FPU register, from wherever."""
    ACCUMULATE_BUSY = auto()
    """No register: the FPU in the cycles after a multiply-accumulate."""
    CHAINED_BUSY = auto()


_CORE_NEEDS = (
    Need.ADDRESS,
    Need.INDEX,
    Need.SHIFTER,
    Need.EARLY,
    Need.LATE,
    Need.FACTOR,
    Need.ADDEND,
    Need.STORED,
    Need.TO_FPU,
)
_CORE_ROWS = {
    # JNK0LE: to the late ALU in 0 cycles, to the early one in the next.
    Producer.EARLY_ALU: (1, 1, 1, 1, 0, 0, 0, 0, 1),
    # JNK0LE: as above, but not to an early ADD, SUB or MOV in the next cycle.
    Producer.WRITE_BACK: (1, 1, 1, 2, 0, 0, 0, 0, 1),
    # JNK0LE: shifted operands, addresses one cycle earlier; addend and store in the same cycle.
    Producer.LATE_ALU: (2, 2, 2, 2, 1, 1, 0, 0, 1),
    # JNK0LE: not into an address, a shifter or another reversal in the next cycle.
    Producer.REVERSAL: (2, 2, 2, 1, 0, 0, 0, 0, 1),
    # LLVM: SSAT, USAT, QADD, QSUB, USAD8 have latency 2.
    Producer.SATURATION: (3, 3, 3, 3, 2, 2, 1, 0, 2),
    # JNK0LE: one more than the ALU; accumulators chain every cycle. LLVM: 4 into an address.
    Producer.PRODUCT: (4, 4, 3, 3, 2, 2, 1, 1, 1),
    # JNK0LE: late ALU in the next cycle, factor and early ALU in the one after, store at once.
    # LLVM: an index one cycle more than a base.
    Producer.WORD: (2, 3, 2, 2, 1, 2, 0, 0, 1),
    # JNK0LE: late ALU in the second cycle, early in the third, addend in the next, store at once.
    Producer.PART: (3, 3, 3, 3, 2, 2, 1, 0, 2),
    # JNK0LE: VMOV has one cycle into the late ALU, none into an addend.
    Producer.FROM_FPU: (2, 2, 2, 2, 1, 1, 0, 0, 1),
}
_FP_NEEDS = (
    Need.FP_TERM,
    Need.FP_FACTOR,
    Need.FUSED_ADDEND,
    Need.CHAINED_ADDEND,
    Need.FP_STORED,
    Need.FP_TO_CORE,
    Need.FP_TO_FP,
)
_FP_ROWS = {
    # JNK0LE, table of result latencies and the paragraphs on VMOV and VLDR; its x (cannot be
    # measured, since the FPU is busy) as the factor's column.
    Producer.FP_RESULT: (3, 3, 3, 2, 1, 3, 3),
    Producer.FUSED: (5, 5, 3, 2, 3, 5, 5),
    Producer.CHAINED: (6, 6, 4, 3, 4, 6, 6),
    Producer.FP_WORD: (1, 1, 3, 2, 1, 2, 1),
    Producer.FP_MOVED: (3, 3, 3, 3, 1, 3, 3),
}

LATENCY_CYCLES: dict[Producer, dict[Need, int]] = {
    **{producer: dict(zip(_CORE_NEEDS, row, strict=True)) for producer, row in _CORE_ROWS.items()},
    **{producer: dict(zip(_FP_NEEDS, row, strict=True)) for producer, row in _FP_ROWS.items()},
    # JNK0LE: not in the same cycle; three cycles ahead of a branch they shorten a wrong prediction.
    Producer.FLAGS: {Need.LATE: 1, Need.SHIFTER: 2, Need.RESOLUTION: 3},
    # JNK0LE: VADD, VLDM, VSTM, doubles and immediates cannot execute for three cycles.
    Producer.ACCUMULATE_BUSY: {Need.AFTER_ACCUMULATE: 4},
    # JNK0LE: VFMA not in the cycle after VMLA.
    Producer.CHAINED_BUSY: {Need.FUSED_START: 2},
}
LONGEST_CYCLES = {producer: max(row.values()) for producer, row in LATENCY_CYCLES.items()}
"""How long a result can still make someone wait."""
