"""Steps through the pipeline of the Cortex-M4 that have been worked out before.

What an instruction does to the pipeline follows from the state before, its timing view, its place
in a line and where its access goes. Programs differ, but pass the same few thousand steps again and
again: each is worked out once, and a block then costs a look-up for each of its instructions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from mcuq_lab.nucleosim.timing.accesses import Where
from mcuq_lab.nucleosim.timing.cortex_m4_pipeline import Issue, State, issue
from mcuq_lab.nucleosim.timing.cost import CAUSES
from mcuq_lab.nucleosim.timing.decode import decode
from mcuq_lab.nucleosim.timing.instruction import Access, Instruction
from mcuq_lab.nucleosim.timing.memory import Memory, MemoryTiming

MOST_STEPS = 1 << 17
"""Some tens of megabytes; the networks of a search need a tenth of it."""

_StepKey = tuple[int, int, Where | None, Memory, bool]


class Stage:
    """A pipeline state and the steps known from it. Compared by identity: one for each state."""

    __slots__ = ("state", "steps")

    def __init__(self, state: State) -> None:
        self.state = state
        self.steps: dict[_StepKey, Step] = {}


class Step(NamedTuple):
    """One instruction through the pipeline."""

    after: Stage
    causes: tuple[tuple[int, int], ...]
    """Pairs of a `Cause` and its cycles, those without cycles left out."""


class Steps:
    """The steps of one core with one set of memories."""

    def __init__(self, memory: MemoryTiming, most: int = MOST_STEPS) -> None:
        self._memory = memory
        self._most = most
        self._stages: dict[State, Stage] = {}
        self._count = 0
        self._view_numbers: dict[Instruction, int] = {}
        self._views_of: dict[bytes, int] = {}

    def stage(self, state: State) -> Stage:
        """The stage of a state; valid until the next call of `make_room`."""
        stage = self._stages.get(state)
        if stage is None:
            stage = self._stages[state] = Stage(state)
        return stage

    def make_room(self) -> None:
        """Between blocks: forget all steps if they have become too many."""
        if self._count >= self._most:
            self._stages.clear()
            self._view_numbers.clear()
            self._views_of.clear()
            self._count = 0

    def go(
        self,
        stage: Stage,
        encoding: bytes,
        address_in_line: int,
        where: Where | None,
        code_memory: Memory,
        taken: bool,
    ) -> Step:
        """`issue` of the instruction `encoding`, `address_in_line` bytes into a line of code."""
        view = self._views_of.get(encoding)
        if view is None:
            view = self._views_of[encoding] = self._view(decode(encoding))
        key = (view, address_in_line, where, code_memory, taken)
        step = stage.steps.get(key)
        if step is None:
            causes = [0] * CAUSES
            at = Issue(decode(encoding), address_in_line, where, code_memory)
            after = issue(at, stage.state, self._memory, taken, causes)
            spent = tuple((cause, cycles) for cause, cycles in enumerate(causes) if cycles)
            step = stage.steps[key] = Step(self.stage(after), spent)
            self._count += 1
        return step

    def _view(self, instruction: Instruction) -> int:
        """A number for all that `issue` sees of an instruction: not where it branches or loads."""
        access = instruction.access
        seen = None if access is None else Access(0, 0, access.size_bytes)
        alike = replace(instruction, divide=None, conditional=False, access=seen)
        return self._view_numbers.setdefault(alike, len(self._view_numbers))
