"""Why the engine came back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class StopKind(Enum):
    """What ended a run of instructions."""

    LIMIT = auto()
    """The cycle limit; or a single step is done."""
    BREAKPOINT = auto()
    """A hardware breakpoint; the instruction has not run."""
    BKPT = auto()
    """A BKPT instruction."""
    SVC = auto()
    """An SVC instruction; the program counter is behind it."""
    WAIT = auto()
    """WFI or WFE; the program counter is behind it."""
    UNDEFINED = auto()
    """An undefined instruction."""
    ARM_STATE = auto()
    """A branch left Thumb state."""
    DIVIDE_BY_ZERO = auto()
    """A division by zero while these trap."""
    NO_FPU = auto()
    """A floating-point instruction while the FPU is off."""
    UNALIGNED = auto()
    """A multiple-word access at an address that is not a multiple of 4."""
    READ_FAULT = auto()
    """A read where nothing answers."""
    WRITE_FAULT = auto()
    """A write where nothing answers."""
    FLASH_STORE = auto()
    """A store to flash that is not simply done; inside the engine only."""
    FETCH_FAULT = auto()
    """The program counter is where nothing answers."""


@dataclass(frozen=True)
class Stop:
    """The end of a run. `address` is that of the data access, for the faults that have one."""

    kind: StopKind
    address: int = 0
