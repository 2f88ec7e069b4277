"""What can be read off Thumb code without a full decoder: sizes, conditions, classes of access."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

ALWAYS = 14


@dataclass(frozen=True)
class ThumbInstruction:
    """One instruction in a block: offset from the block's start, its halfwords, its condition.

    `condition` is that of the IT block around it, 0 (EQ) to 13 (LE), or ALWAYS.
    """

    offset: int
    first: int
    second: int
    condition: int

    @property
    def size(self) -> int:
        """Bytes: 2 or 4."""
        return 4 if self.first >= 0xE800 else 2

    @property
    def is_floating_point(self) -> bool:
        """Whether it is for coprocessor 10 or 11, the FPU."""
        return self.size == 4 and self.first & 0xEC00 == 0xEC00 and self.second & 0x0E00 == 0x0A00

    @property
    def aligned_base(self) -> int | None:
        """Base register if it faults unless its address is a multiple of 4; None if it cannot.

        LDM, STM, LDRD, STRD, LDREX, STREX and the loads and stores of the FPU. Their immediate
        offsets are multiples of 4, so the base decides. The stack pointer always is a multiple
        of 4, and the program counter counts as one.
        """
        base = None
        if self.first & 0xF000 == 0xC000:  # LDM, STM
            base = self.first >> 8 & 7
        elif self.size == 4 and self.first & 0xFE00 == 0xE800:
            is_double_or_exclusive = bool(self.first & 0x40)
            # Other exclusives and table branches have P = 0, W = 0, U = 1.
            if not is_double_or_exclusive or self.first & 0xFFE0 != 0xE8C0:
                base = self.first & 0xF
        elif self.is_floating_point and self.first & 0xFE00 == 0xEC00 and self.first & 0x1A0:
            base = self.first & 0xF
        return None if base in (13, 15) else base


def instructions(code: bytes) -> Iterator[ThumbInstruction]:
    """The instructions of a block. One that is cut off at the end is left out."""
    offset = 0
    it_state = 0
    while offset + 2 <= len(code):
        first = int.from_bytes(code[offset : offset + 2], "little")
        second = int.from_bytes(code[offset + 2 : offset + 4], "little")
        condition = it_state >> 4 if it_state & 0xF else ALWAYS
        instruction = ThumbInstruction(offset, first, second, condition)
        if offset + instruction.size > len(code):
            return
        yield instruction
        if first & 0xFF00 == 0xBF00 and first & 0xF:
            it_state = first & 0xFF
        elif it_state & 7:
            it_state = it_state & 0xE0 | it_state << 1 & 0x1F
        else:
            it_state = 0
        offset += instruction.size


@lru_cache(maxsize=1 << 13)
def all_instructions(code: bytes) -> tuple[ThumbInstruction, ...]:
    """The same, remembered: a block is asked for again whenever an image is flashed."""
    return tuple(instructions(code))


def instruction_size(code: bytes) -> int:
    """Bytes of the first instruction: 4 if its first halfword says so, else 2."""
    return 4 if len(code) > 1 and code[1] >= 0xE8 else 2


def step_size(code: bytes, it_state: int = 0) -> int:
    """Bytes that a single step runs: an instruction, or an IT instruction with all it governs.

    `it_state` is the processor's ITSTATE: within an IT block a step runs what is left of it.
    """
    is_it = code[1] == 0xBF and code[0] & 0xF != 0
    size = instruction_size(code) if is_it or it_state & 0xF == 0 else 0
    mask = code[0] & 0xF if is_it else it_state & 0xF
    for _ in range(5 - (mask & -mask).bit_length() if mask else 0):
        size += instruction_size(code[size : size + 2])
    return size


@lru_cache(maxsize=1 << 14)
def instruction_count(code: bytes) -> int:
    """Number of instructions in a block."""
    count = offset = 0
    while offset < len(code):
        offset += instruction_size(code[offset : offset + 2])
        count += 1
    return count
