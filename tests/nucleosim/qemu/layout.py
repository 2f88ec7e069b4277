"""Where things lie: what the image, its host and the generator agree on.

One record a case, in RAM. Registers are loaded from it and stored to it, and the window behind
them is the case's memory: data at its start, a stack towards its end.
"""

from __future__ import annotations

RAM = 0x20000000
RAM_BYTES = 4 << 20
CODE_BYTES = 4 << 20

RECORD_BYTES = 512
HEADER_BYTES = RECORD_BYTES
"""In front of the records: the driver's own variables."""
MOST_CASES = (RAM_BYTES - HEADER_BYTES) // RECORD_BYTES

CORE_REGISTERS = 16  # r0 to r12, sp, lr, APSR
ENTRY_WORD = 14
FP_REGISTERS = 32
WINDOW_OFFSET = 4 * (CORE_REGISTERS + FP_REGISTERS + 2)  # FPSCR, and a word that stays
WINDOW_BYTES = RECORD_BYTES - WINDOW_OFFSET
DATA_BYTES = 176
STACK_OFFSET = WINDOW_BYTES - 48
"""Of the stack pointer on entry, from the window's start."""


def record_address(index: int) -> int:
    """Of a case."""
    return RAM + HEADER_BYTES + index * RECORD_BYTES


def window_address(index: int) -> int:
    """Of a case's memory."""
    return record_address(index) + WINDOW_OFFSET
