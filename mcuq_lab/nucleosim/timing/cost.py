"""The words between a cycle model and the simulator that runs it."""

from dataclasses import dataclass
from typing import Protocol


class UnknownCoreError(ValueError):
    """No cycle model for the core that was asked for."""


@dataclass(frozen=True)
class DynamicCost:
    """Cycles of one division, known only when its operands are.

    `BlockCost` already holds the smallest cost of the division; the caller adds
    `extra_divide_cycles(dividend, divisor, signed)` with the register values as they stand just
    before the instruction at `address` executes.
    """

    address: int
    signed: bool
    dividend_register: int
    divisor_register: int


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


class TimingModel(Protocol):
    """What the simulator asks of a core's cycle model."""

    name: str
    version: str
    uncertainty: str
    """One paragraph: how far from silicon, by class of code, and by what comparison."""
    initial_state: int
    """Pipeline state after reset, an exception or a halt."""

    def block_cost(self, address: int, code: bytes, entry_state: int) -> BlockCost:
        """Cost of the Thumb instructions `code`, which lie at `address` (bit 0 clear).

        `entry_state` is `initial_state` or the exit state of the block that ran before.
        States are ints in [0, 4096). Total for any bytes: what does not decode costs one cycle.
        """
        ...


def extra_divide_cycles(dividend: int, divisor: int, signed: bool) -> int:
    """Cycles of UDIV or SDIV beyond the least (2), from the operands as unsigned words.

    The manual gives 2 to 12 cycles and an early end by the leading zeros and ones of the operands
    (ARM 100166, table of processor instructions, note on UDIV), no formula: here four bits of
    quotient a cycle, so that the range comes out. Plain integer arithmetic, so that a compiled
    hook may compile it too.
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
    return 2 + (quotient_bits + 3) // 4
