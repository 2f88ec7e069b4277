"""Random cases: a sequence of instructions, and the registers and memory that it starts from."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from tests.nucleosim.qemu import values
from tests.nucleosim.qemu.layout import (
    FP_REGISTERS,
    STACK_OFFSET,
    WINDOW_BYTES,
)
from tests.nucleosim.qemu.render import Filler, Unit, in_block
from tests.nucleosim.qemu.tables import forms
from tests.nucleosim.qemu.template import Template

GATE_SEED = 20
GATE_CASES = 1200
"""What the gate compares for each core."""


@dataclass(frozen=True)
class Case:
    """What runs, from which state.

    Attributes:
        units: the sequence; `@` in a label stands for the number of the case in an image.
        window: register that holds the address of the case's memory throughout.
        registers: r0 to r12; that of `window` is put in with its address.
        apsr, fp_registers, fpscr: the rest of the register file.
        memory: the words of the window.
    """

    units: tuple[Unit, ...]
    window: int
    registers: tuple[int, ...]
    apsr: int
    fp_registers: tuple[int, ...]
    fpscr: int
    memory: tuple[int, ...]

    def words(self, window_address: int) -> list[int]:
        """The record that the driver loads; at ENTRY_WORD goes the address of the sequence."""
        registers = list(self.registers)
        registers[self.window] = window_address
        core = (*registers, window_address + STACK_OFFSET, 0, self.apsr)
        return [*core, *self.fp_registers, self.fpscr, 0, *self.memory]

    @property
    def text(self) -> str:
        """The sequence as assembly, indented."""
        return "\n".join(f"    {line}" for unit in self.units for line in unit)

    def replaced(self, old: str, new: str) -> Case:
        """The same with other text in its instructions."""
        units = tuple(tuple(line.replace(old, new) for line in unit) for unit in self.units)
        return replace(self, units=units)

    def without(self, first: int, count: int) -> Case:
        """The same, less some units."""
        return replace(self, units=self.units[:first] + self.units[first + count :])


def case_of(*lines: str, r0: int = 0, s0: int = 0, apsr: int = 0, fpscr: int = 0) -> Case:
    """A case by hand: r12 holds the address of its memory, all else is 0."""
    zeros = (0,) * (WINDOW_BYTES // 4)
    registers, floats = (r0, *zeros[:12]), (s0, *zeros[: FP_REGISTERS - 1])
    return Case((lines,), 12, registers, apsr, floats, fpscr, zeros)


class CaseGenerator:
    """Deals the forms of a core's tables to cases, each once before any comes twice."""

    def __init__(self, core: str, seed: int) -> None:
        self._source = random.Random(seed)
        self._forms = forms(core)
        self._straight = [form for form in self._forms if not form.has_body]
        self._in_registers = [f for f in self._straight if f.fits_block and "<b" not in f.text]
        self._deck: list[Template] = []
        self._labels = 0

    def cases(self, count: int) -> list[Case]:
        """The next cases."""
        return [self._case() for _ in range(count)]

    def _case(self) -> Case:
        source = self._source
        window = source.randrange(13)
        units = tuple(self._unit(window, self._deal()) for _ in range(source.randrange(6, 15)))
        memory = tuple(
            source.choice((values.word, values.single))(source) for _ in range(WINDOW_BYTES // 4)
        )
        return Case(
            units,
            window,
            tuple(values.word(source) for _ in range(13)),
            source.getrandbits(5) << 27 | source.getrandbits(4) << 16,
            self._fp_registers(),
            values.status(source),
            memory,
        )

    def _fp_registers(self) -> tuple[int, ...]:
        source = self._source
        words: list[int] = []
        for _ in range(FP_REGISTERS // 2):
            if source.random() < 0.4:
                bits = values.double(source)
                words += (bits & 0xFFFFFFFF, bits >> 32)
            else:
                words += (values.single(source), values.single(source))
        return tuple(words)

    def _deal(self) -> Template:
        if not self._deck:
            self._deck = list(self._forms)
            self._source.shuffle(self._deck)
        return self._deck.pop()

    def _unit(self, window: int, form: Template, reserved: frozenset[int] = frozenset()) -> Unit:
        if form.fits_block and self._source.random() < 0.25:
            return self._block(window, form, reserved)
        filler = self._filler(window, reserved)
        lines = filler.fill(form, in_block=False)
        return (*filler.set_up(form), *lines)

    def _block(self, window: int, form: Template, reserved: frozenset[int]) -> Unit:
        """An IT block around a form, filled up with others that do not touch memory."""
        source = self._source
        filler = self._filler(window, reserved)
        slots = [filler.fill(form, in_block=True)]
        set_up = filler.set_up(form)
        kept = reserved | filler.address_registers
        for other in source.choices(self._in_registers, k=source.randrange(4)):
            slots.append(self._filler(window, kept).fill(other, in_block=True))
        source.shuffle(slots)
        return (*set_up, *in_block(source, [line for slot in slots for line in slot]))

    def _filler(self, window: int, reserved: frozenset[int]) -> Filler:
        self._labels += 1
        return Filler(self._source, window, reserved, f".L@{self._labels}", self._body(window))

    def _body(self, window: int):
        def body(reserved: frozenset[int]) -> list[str]:
            chosen = self._source.choices(self._straight, k=self._source.randrange(3))
            return [line for form in chosen for line in self._unit(window, form, reserved)]

        return body
