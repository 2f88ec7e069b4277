"""Which registers decide, on entry of a block, whether its multiple-word accesses are aligned.

The Cortex-M faults where LDM, LDRD and their like meet an address that is not a multiple of 4;
Unicorn does not. A look at each such instruction before it runs would cost more than the
instruction. But in nearly every block the base register is a register on entry plus a constant, so
that one look at the block's entry is enough, and none at all while a loop repeats.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.nucleosim.thumb import ALWAYS, all_instructions
from mcuq_lab.nucleosim.timing.accesses import PC
from mcuq_lab.nucleosim.timing.addresses import WORD, Origins


@dataclass(frozen=True)
class EntryChecks:
    """What to look at when a block is entered.

    Attributes:
        registers: (register, constant) pairs whose sum must be a multiple of 4.
        all_known: whether these cover every access; if not, each access needs its own look.
        kept: whether the block leaves the checked registers as they were, modulo 4.
    """

    registers: tuple[tuple[int, int], ...]
    all_known: bool
    kept: bool


def entry_checks(code: bytes) -> EntryChecks:
    """The checks for one block."""
    found = all_instructions(code)
    if all(instruction.aligned_base is None for instruction in found):
        return EntryChecks((), True, True)
    origins = Origins()
    checks: dict[tuple[int, int], None] = {}
    all_known = True
    for instruction in found:
        if instruction.aligned_base is not None:
            origin = origins.of(instruction.aligned_base)
            of_code = origin is not None and origin.register == PC
            if origin is None or (of_code and origin.constant % WORD):
                all_known = False
            elif not of_code:
                checks[origin.register, origin.constant % WORD] = None
        encoding = code[instruction.offset : instruction.offset + instruction.size]
        origins.follow(encoding, instruction.condition != ALWAYS)
    return EntryChecks(tuple(checks), all_known, _kept(origins, checks))


def _kept(origins: Origins, checks: dict[tuple[int, int], None]) -> bool:
    ends = [(register, origins.of(register)) for register, _ in checks]
    return all(
        end is not None and end.register == register and end.constant % WORD == 0
        for register, end in ends
    )
