"""One line of an instruction table, and the forms that it stands for.

A template is assembly text with holes. Text in parentheses gives alternatives: `add(s|).w` stands
for `adds.w` and `add.w`, each a form of its own. `s?` is the `s` of a 16-bit encoding, which sets
flags outside of an IT block and cannot inside. Angle brackets are holes that `render.py` fills
anew each time; `:` and a letter behind a register's name make it the same register again.

    <d> <dl>      a register to write, a low one; all of a template differ from each other
    <n> <nl>      a register to read, a low one
    <m> <ml>      a register to read that the template has not named otherwise
    <ds:3> <dls:3> <ns:3> <nls:3> <ms:3> <mls:3>   lists of so many such registers
    <b> <bl>      a base register, made to point into the case's memory before the template
    <o:0..124:4>  the displacement of an access, in steps of 4; the base makes up for it
    <x> <xl>      an index: a register shifted left by up to 3, a low register
    <s> <e>       registers of single and double precision; <ss:3> <es:3> so many in a row
    <0..31> <0..60:4>   a number
    <modified> <field> <corner> <float> <status>   a modified immediate constant, the lowest bit
                  and width of a bit field, an interesting word, a constant of VMOV, an FPSCR
    <c> <cl>      a register to write that bodies leave alone: a loop's counter
    <@name>       a label of this use of the template
    <body> <leaf> some more instructions, drawn at random; a leaf leaves the link register alone
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace

_ALTERNATIVES = re.compile(r"\(([^()|]*\|[^()]*)\)")


@dataclass(frozen=True)
class Template:
    """Assembly text with holes, one instruction a line.

    Attributes:
        text: lines, separated by `;`.
        before, after: bytes that it reads or writes below and from base plus displacement.
        alignment: of base plus displacement, in bytes.
        conditional: whether it may stand in an IT block, if it is one instruction.
    """

    text: str
    before: int = 0
    after: int = 0
    alignment: int = 1
    conditional: bool = True

    @property
    def lines(self) -> tuple[str, ...]:
        """The instructions, labels and directives."""
        return tuple(line.strip() for line in self.text.split(";"))

    @property
    def fits_block(self) -> bool:
        """Whether it may stand in an IT block."""
        return self.conditional and len(self.lines) == 1

    @property
    def has_body(self) -> bool:
        """Whether other instructions go into it."""
        return "<body>" in self.text or "<leaf>" in self.text

    def forms(self) -> tuple[Template, ...]:
        """One template for each combination of alternatives."""
        parts = _ALTERNATIVES.split(self.text)
        choices = [part.split("|") if i % 2 else [part] for i, part in enumerate(parts)]
        return tuple(replace(self, text="".join(chosen)) for chosen in itertools.product(*choices))


def plain(*texts: str) -> tuple[Template, ...]:
    """Templates of single instructions that touch no memory."""
    return tuple(Template(text) for text in texts)


def unconditional(*texts: str) -> tuple[Template, ...]:
    """Templates that stay outside of IT blocks."""
    return tuple(Template(text, conditional=False) for text in texts)
