"""Which registers decide what the accesses of a block cost, and what they tell of each access."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mcuq_lab.nucleosim.timing.addresses import WORD, Origin, Origins
from mcuq_lab.nucleosim.timing.cost import MOST_BASES, Place
from mcuq_lab.nucleosim.timing.decode import instructions
from mcuq_lab.nucleosim.timing.instruction import Access, Instruction, Kind
from mcuq_lab.nucleosim.timing.memory import Memory

SP = 13
PC = 15

_LOADS = frozenset((Kind.LOAD, Kind.LOAD_MULTIPLE, Kind.FP_LOAD))


class Where(NamedTuple):
    """What is known of an access's lowest address."""

    residue: int = 0
    modulus: int = 1
    """`residue` holds modulo this power of two, at most 8; 1: nothing is known."""
    memory: Memory | None = None

    def modulo(self, modulus: int) -> int | None:
        """The address modulo `modulus`; None if that is not known."""
        return self.residue % modulus if modulus <= self.modulus else None


class Whereabouts:
    """Tells where accesses go while the instructions of a block are followed in order.

    `mask` is the model's `place_mask`, under which the residues of `places` were taken.
    `code_memory` is the kind of memory that the block itself lies in, and with it its literals.
    """

    def __init__(self, places: Iterable[Place], mask: int, code_memory: Memory) -> None:
        self._places = {place.register: place for place in places}
        self._modulus = mask + 1
        self._code_memory = code_memory
        self._origins = Origins()

    def of(self, access: Access) -> Where:
        """Where an access of the next instruction goes."""
        return self.from_origin(access, self._origins.of(access.base))

    def from_origin(self, access: Access, origin: Origin | None) -> Where:
        """Where an access goes whose base has this origin."""
        if origin is None:
            return Where()
        if origin.register == PC:
            return _moved(Where(origin.constant % WORD, WORD, self._code_memory), access)
        place = self._places.get(origin.register)
        if place is not None:
            modulus = min(self._modulus, origin.modulus)
            base = Where((place.residue + origin.constant) % modulus, modulus, place.memory)
        elif origin.register == SP:
            # The stack pointer holds multiples of four whatever is written to it.
            base = Where(origin.constant % WORD, WORD)
        else:
            base = Where()
        return _moved(base, access)

    def follow(self, encoding: bytes, conditional: bool) -> None:
        """Go past one instruction; `conditional` if an IT may skip it."""
        self._origins.follow(encoding, conditional)


def _moved(base: Where, access: Access) -> Where:
    """From the base to the address: an offset in a register leaves multiples of its scale."""
    if access.offset is None:
        modulus = min(base.modulus, 1 << access.index_shift)
        return Where(base.residue % modulus, modulus, base.memory)
    return Where((base.residue + access.offset) % base.modulus, base.modulus, base.memory)


class Traced(NamedTuple):
    """An instruction of a block, with what is known of its access without the registers."""

    offset: int
    encoding: bytes
    instruction: Instruction
    origin: Origin | None
    """Of the base of its access; None if it has none or nothing is known of it."""


@lru_cache(maxsize=1 << 14)
def traced(code: bytes, it_left: int) -> tuple[Traced, ...]:
    """The instructions of a block on entry of which `it_left` are still under an IT."""
    origins = Origins()
    found: list[Traced] = []
    for offset, encoding, instruction in instructions(code):
        access = instruction.access
        origin = None if access is None else origins.of(access.base)
        found.append(Traced(offset, encoding, instruction, origin))
        origins.follow(encoding, conditional=it_left > 0)
        it_left = instruction.it_length or max(0, it_left - 1)
    return tuple(found)


def bases(
    code: bytes, decides: Callable[[Instruction], bool], left_out: frozenset[int] = frozenset()
) -> tuple[int, ...]:
    """Registers on entry of `code` from which its accesses follow, at most MOST_BASES.

    `decides` says whether it matters where an instruction's access goes. Those that decide most
    accesses come first; the program counter is never among them, nor are those `left_out`.
    """
    left_out |= {PC}
    decided: Counter[int] = Counter()
    for _, _, instruction, origin in traced(code, 0):
        if origin is not None and origin.register not in left_out and decides(instruction):
            decided[origin.register] += 1
    ranked = sorted(decided, key=lambda register: (-decided[register], register))
    return tuple(ranked[:MOST_BASES])


def literals(address: int, code: bytes) -> tuple[int, ...]:
    """Addresses of the constants that code at `address` loads relative to the program counter."""
    word = address & ~3
    return tuple(word + offset for offset in _literal_offsets(address & 3, code))


@lru_cache(maxsize=1 << 14)
def _literal_offsets(address: int, code: bytes) -> tuple[int, ...]:
    return tuple(
        (address + offset + 4 & ~3) + instruction.access.offset
        for offset, _, instruction in instructions(code)
        if instruction.access is not None
        and instruction.access.base == PC
        and instruction.access.offset is not None
    )


@dataclass(frozen=True, slots=True)
class Reach:
    """Bytes that a block touches around where a register points, from `start` up to `end`."""

    start: int
    end: int
    loads: bool
    """Whether it loads any of them."""


def reaches(code: bytes, registers: Iterable[int]) -> tuple[Reach, ...]:
    """What a block touches through each of some registers on entry, as far as that can be told.

    A base that moves within the block counts as if it stayed: it moves by a few words, and the
    next time that the block runs starts from there.
    """
    found: dict[int, Reach] = {register: Reach(0, 0, False) for register in registers}
    origins = Origins()
    for _, encoding, instruction in instructions(code):
        access = instruction.access
        origin = None if access is None or access.offset is None else origins.of(access.base)
        if origin is not None and origin.register in found:
            before = found[origin.register]
            end = access.offset + access.size_bytes * access.count
            found[origin.register] = Reach(
                access.offset if before.end == before.start else min(before.start, access.offset),
                end if before.end == before.start else max(before.end, end),
                before.loads or instruction.kind in _LOADS,
            )
        origins.follow(encoding, conditional=False)
    return tuple(found.values())
