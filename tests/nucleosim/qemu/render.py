"""Templates to instructions: fills the holes, and sets up what an access needs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.nucleosim.qemu import values
from tests.nucleosim.qemu.layout import DATA_BYTES
from tests.nucleosim.qemu.tables import CONDITIONS
from tests.nucleosim.qemu.template import Template

_HOLE = re.compile(r"<([^<>]+)>")
_RANGE = re.compile(r"(-?\d+)\.\.(-?\d+)(?::(\d+))?$")
_REGISTER_LIST = re.compile(r"([dnm])s$|([dnm])ls$")
_MNEMONIC = re.compile(r"^[a-z0-9]+")

LINK = 14
_LOW = frozenset(range(8))
_ALL = frozenset((*range(13), LINK))

Unit = tuple[str, ...]
"""Lines of assembly that stand or fall together."""


def register_name(number: int) -> str:
    """As the assembler spells it."""
    return "lr" if number == LINK else f"r{number}"


class Filler:
    """Fills the holes of one use of a template.

    `window` holds the address of the case's memory; it and the other `reserved` registers are not
    written. `body` gives the lines of a body, from the registers reserved in it.
    """

    def __init__(
        self,
        source: random.Random,
        window: int,
        reserved: frozenset[int],
        label: str,
        body: Callable[[frozenset[int]], list[str]],
    ) -> None:
        self._source = source
        self._window = window
        self._reserved = set(reserved) | {window}
        self._label = label
        self._body = body
        self._named: dict[str, str] = {}
        self._taken: set[int] = set()  # written, or used for an address
        self._read: set[int] = set()
        self._base: int | None = None
        self._displacement = 0
        self._indices: list[tuple[int, int]] = []  # register, value

    @property
    def address_registers(self) -> frozenset[int]:
        """What the set-up writes."""
        bases = () if self._base is None else (self._base,)
        return frozenset((*bases, *(register for register, _ in self._indices)))

    def fill(self, template: Template, in_block: bool) -> list[str]:
        """The template's lines; bodies make several of one."""
        lines: list[str] = []
        for line in template.lines:
            label, _, rest = line.rpartition(": ")
            if rest in ("<body>", "<leaf>"):
                lines += [self._filled(label) + ":"] if label else []
                kept = {LINK} if rest == "<leaf>" else set()
                lines += self._body(frozenset(self._reserved | kept))
            else:
                lines.append(self._filled(line.replace("s? ", " " if in_block else "s ")))
        return lines

    def set_up(self, template: Template) -> list[str]:
        """Instructions, without effect on flags, that make the base and the indices."""
        if self._base is None:
            return []
        last = DATA_BYTES - template.after
        target = self._source.randrange(template.before, last + 1)
        if template.alignment > 1 or self._source.random() < 0.6:
            target = target // 4 * 4
            target += 4 if target < template.before else 0
        offset = target - self._displacement
        base, window = register_name(self._base), register_name(self._window)
        if offset == 0:
            lines = [f"mov {base}, {window}"]
        else:
            lines = [f"{'addw' if offset > 0 else 'subw'} {base}, {window}, #{abs(offset)}"]
        for register, value in self._indices:
            name = register_name(register)
            lines.append(f"mvn.w {name}, #{~value}" if value < 0 else f"mov.w {name}, #{value}")
        return lines

    def _filled(self, line: str) -> str:
        return _HOLE.sub(lambda match: self._value(match[1]), line)

    def _value(self, hole: str) -> str:
        source = self._source
        if hole.startswith("@"):
            return f"{self._label}_{hole[1:]}"
        if number := _RANGE.match(hole):
            return str(_number(source, number))
        kind, _, name = hole.partition(":")
        if kind == "o":
            displacement = _number(source, _RANGE.match(name))
            self._displacement += displacement
            return str(displacement)
        if kind in ("x", "xl"):
            return self._index(low=kind == "xl")
        if kind in ("ss", "es"):
            return _consecutive(source, "s" if kind == "ss" else "d", int(name))
        if _REGISTER_LIST.match(kind):
            return self._list(kind.replace("s", ""), int(name))
        simple = {
            "modified": lambda: str(values.modified_immediate(source)),
            "field": lambda: _field(source),
            "corner": lambda: f"0x{values.word(source):08x}",
            "status": lambda: f"0x{values.status(source):08x}",
            "float": lambda: str(source.choice((16, 24, 31)) / 16 * 2.0 ** source.randrange(-3, 5)),
        }
        if kind in simple:
            return simple[kind]()
        if name and hole in self._named:
            return self._named[hole]
        self._named[hole] = chosen = self._register(kind)
        return chosen

    def _register(self, kind: str) -> str:
        if kind in ("s", "e"):
            return (
                f"s{self._source.randrange(32)}"
                if kind == "s"
                else f"d{self._source.randrange(16)}"
            )
        return register_name(self._core_register(kind))

    def _core_register(self, kind: str) -> int:
        role, low = kind[0], kind.endswith("l")
        candidates = set(_LOW if low else _ALL)
        if role == "n":
            register = self._pick(candidates)
            self._read.add(register)
            return register
        candidates -= self._taken
        if role == "m":
            register = self._pick(candidates - self._read)
            self._read.add(register)
            return register
        candidates -= self._reserved | self._read if role in "bc" else self._reserved
        register = self._pick(candidates)
        self._taken.add(register)
        if role == "b":
            self._base = register
        elif role == "c":
            self._reserved.add(register)
        return register

    def _pick(self, candidates: set[int]) -> int:
        return self._source.choice(sorted(candidates))

    def _index(self, low: bool) -> str:
        register = self._core_register("dl" if low else "d")
        shift = 0 if low else self._source.randrange(4)
        value = self._source.choice((0, 1, 2, 3, 4, 7, 16, 100, 255, -1, -4, -100))
        self._indices.append((register, value))
        self._displacement += value << shift
        name = register_name(register)
        return f"{name}, lsl #{shift}" if shift else name

    def _list(self, kind: str, count: int) -> str:
        role = kind[0]
        candidates = set(_LOW if kind.endswith("l") else _ALL - {LINK})
        if role != "n":
            candidates -= self._taken
        if role == "d":
            candidates -= self._reserved
        registers = sorted(self._source.sample(sorted(candidates), count))
        if role == "d":
            self._taken.update(registers)
        return ", ".join(map(register_name, registers))


def in_block(source: random.Random, lines: Sequence[str]) -> list[str]:
    """One to four instructions under an IT instruction with a random condition and pattern."""
    condition = source.randrange(len(CONDITIONS))
    pattern, out = "", []
    for index, line in enumerate(lines):
        inverted = index > 0 and source.getrandbits(1)
        if index:
            pattern += "e" if inverted else "t"
        suffix = CONDITIONS[condition ^ inverted]
        out.append(_MNEMONIC.sub(lambda match, suffix=suffix: match[0] + suffix, line))
    return [f"it{pattern} {CONDITIONS[condition]}", *out]


def _number(source: random.Random, bounds: re.Match) -> int:
    first, last, step = int(bounds[1]), int(bounds[2]), int(bounds[3] or 1)
    chance = source.random()
    if chance < 0.1:
        return first
    if chance < 0.2:
        return last
    near = range(max(first, -16 * step), min(last, 16 * step) + 1, step)
    return source.choice(near if near and chance < 0.6 else range(first, last + 1, step))


def _field(source: random.Random) -> str:
    lowest = source.choice((0, 8, 16, 31, source.randrange(32)))
    width = source.choice((1, 32 - lowest, source.randrange(1, 33 - lowest)))
    return f"{lowest}, #{width}"


def _consecutive(source: random.Random, letter: str, count: int) -> str:
    first = source.randrange((32 if letter == "s" else 16) - count + 1)
    return ", ".join(f"{letter}{number}" for number in range(first, first + count))
