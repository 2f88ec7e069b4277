"""The words between a cycle model and the simulator that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from mcuq_lab.nucleosim.timing.memory import Memory, MemoryTiming


class UnknownCoreError(ValueError):
    """No cycle model for the core that was asked for."""


class Cause(IntEnum):
    """What a cycle goes to; every cycle has exactly one cause."""

    ISSUE = 0
    """At least one instruction starts."""
    EXECUTE = 1
    """Arithmetic that takes more than a cycle, or whose result is waited for: division, FPU."""
    LOAD_USE = 2
    """A loaded value, or an address for a load, is waited for."""
    MEMORY = 3
    """Further words of multiple accesses, unaligned halves, banks and buses that are taken."""
    BRANCH = 4
    """The pipeline refills behind a branch, wrongly predicted ones included."""
    FETCH = 5
    """The instruction has not arrived, though the code's memory answers at once."""
    CODE_WAIT = 6
    """Wait states of the code's memory, and misses of its cache."""
    DATA_WAIT = 7
    """Wait states of the data's memory, and misses of its cache."""


CAUSES = len(Cause)
NO_CYCLES = (0,) * CAUSES


@dataclass(frozen=True)
class DynamicCost:
    """Cycles of one division, known only when its operands are.

    `BlockCost` already holds the smallest cost of the division; the caller adds
    `extra_divide_cycles(dividend, divisor, signed, setup_cycles, bits_per_cycle)` with the register
    values as they stand just before the instruction at `address` executes.
    """

    address: int
    signed: bool
    dividend_register: int
    divisor_register: int
    setup_cycles: int = 2
    bits_per_cycle: int = 4


@dataclass(frozen=True)
class BlockCost:
    """Cycles of one block, and the pipeline state after it, for both ways out."""

    cycles_fallthrough: int
    """If the next instruction executed is the one that follows the block in memory."""
    exit_fallthrough: int
    cycles_taken: int
    """If control went elsewhere; equals the fall-through where the block ends in no branch."""
    exit_taken: int
    dynamic: tuple[DynamicCost, ...] = ()
    causes_fallthrough: tuple[int, ...] = NO_CYCLES
    """The cycles by `Cause`; they add up to `cycles_fallthrough`."""
    causes_taken: tuple[int, ...] = NO_CYCLES
    mispredict_cycles: int = 0
    """More, when a branch at the end goes where the branch predictor did not expect it. The counts
    above are those of a right prediction. 0: the core does not predict, or it is no branch."""
    first_prediction: int = 0
    """Two-bit counter that the predictor starts with for this branch: 2 and 3 expect it taken."""


@dataclass(frozen=True)
class Place:
    """What a simulator found in a register when a block was entered."""

    register: int
    residue: int
    """The value modulo 8, under the model's `place_mask`."""
    memory: Memory
    """The kind of memory that it points into."""


class TimingModel(Protocol):
    """What the simulator asks of a core's cycle model."""

    name: str
    version: str
    uncertainty: str
    """One paragraph: how far from silicon, by class of code, and by what comparison."""
    memory: MemoryTiming
    """The memories that it counts for."""
    initial_state: int
    """Pipeline state after reset, an exception or a halt."""
    place_mask: int
    """Which of the three low bits of an address the model looks at."""

    def bases(self, code: bytes) -> tuple[int, ...]:
        """Registers whose values on entry decide what accesses of `code` cost; at most MOST_BASES.

        The simulator looks at them each time the block is entered.
        """
        ...

    def block_cost(
        self, address: int, code: bytes, entry_state: int, places: tuple[Place, ...] = ()
    ) -> BlockCost:
        """Cost of the Thumb instructions `code`, which lie at `address` (bit 0 clear).

        `entry_state` is `initial_state` or the exit state of the block that ran before. `places`
        tells of registers on entry, those of `bases(code)` and possibly more; an access of which
        they tell nothing counts as aligned, in SRAM. States are ints in [0, 4096). Total for any
        bytes: what does not decode costs one cycle.
        """
        ...


MOST_BASES = 5
MOST_COSTS = 1 << 15
"""Of blocks that a model keeps; when there are more it begins anew, and works them out again."""


def extra_divide_cycles(
    dividend: int, divisor: int, signed: bool, setup_cycles: int = 2, bits_per_cycle: int = 4
) -> int:
    """Cycles of UDIV or SDIV beyond the least, from the operands as unsigned words.

    The Cortex-M4's manual gives 2 to 12 cycles and an early end by the leading zeros and ones of
    the operands (ARM 100166, table of processor instructions, note on UDIV), no formula: here four
    bits of quotient a cycle, so that the range comes out. Plain integer arithmetic, so that a
    compiled hook may compile it too.
    """
    if signed:
        if dividend >= 0x80000000:
            dividend = 0x100000000 - dividend
        if divisor >= 0x80000000:
            divisor = 0x100000000 - divisor
    if divisor == 0 or dividend < divisor:
        return 0
    quotient_bits = 0
    while dividend > 0:
        dividend >>= 1
        quotient_bits += 1
    while divisor > 1:
        divisor >>= 1
        quotient_bits -= 1
    return setup_cycles + (quotient_bits + bits_per_cycle - 1) // bits_per_cycle
