"""Programs with a published count: what is run, what it must give, and what was measured."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources

from mcuq_lab.nucleosim.programs import tasks


class Counted(StrEnum):
    """What a published count takes in."""

    FUNCTION = "function"
    """From the first instruction to the return, the return included."""
    CALL = "call"
    """The same and the BL that calls it."""
    BETWEEN_READS = "between reads"
    """What C code finds that reads the counter before and after the call: the first read, too."""
    TURN = "turn"
    """One turn of a loop, or one unit of work: a difference of two runs, divided."""


@dataclass(frozen=True)
class Program:
    """One program on one core.

    Attributes:
        name: of its source and its code too.
        core: whose timing it shows.
        board: where the published count was taken, at which clock and wait states.
        simulated_board: where it is run here.
        published_cycles: may be a mean.
        counted: what that takes in.
        task: name of the function in `tasks` that makes inputs and expected outputs.
        parameters: of the task.
        kind: "assembly", or "compiled" for what a C compiler made.
        source: of the count.
        bound: the modelled cycles are within this part of the published ones.
        nearness: how near our code is to the code that was measured.
        turns: for Counted.TURN, two numbers of turns; the task takes them as `turns`.
        code_name: its source, relative to this package, without suffix.
        places: how many words further on in flash it is run, for the mean, where its count depends
            on that and the published one does not say: a line of flash holds four words.
        baseline_name: code whose cycles are taken off: the same without what was measured.
    """

    name: str
    core: str
    board: str
    simulated_board: str
    published_cycles: float
    counted: Counted
    task: Callable[..., tasks.Task]
    parameters: Mapping[str, int]
    kind: str
    source: str
    bound: float
    nearness: str
    code_name: str
    turns: tuple[int, int] | None = None
    baseline_name: str | None = None
    places: tuple[int, ...] = (0,)


@cache
def assembled() -> Mapping[str, bytes]:
    """Machine code by name of the source: `harness`, `cortex_m4/chacha` and so on."""
    text = resources.files(__package__).joinpath("assembled.toml").read_text(encoding="utf-8")
    return {name: bytes.fromhex(code) for name, code in tomllib.loads(text)["code"].items()}


@cache
def programs() -> tuple[Program, ...]:
    """All programs of `programs.toml`."""
    text = resources.files(__package__).joinpath("programs.toml").read_text(encoding="utf-8")
    return tuple(_program(**entry) for entry in tomllib.loads(text)["program"])


def _program(
    code: str,
    task: str,
    counted: str,
    parameters: Mapping[str, int] | None = None,
    turns: list[int] | None = None,
    baseline: str | None = None,
    places: Sequence[int] = (0,),
    **entry,
) -> Program:
    return Program(
        code_name=code,
        task=getattr(tasks, task),
        counted=Counted(counted),
        parameters=parameters or {},
        turns=None if turns is None else (turns[0], turns[1]),
        baseline_name=baseline,
        places=tuple(places),
        **entry,
    )
