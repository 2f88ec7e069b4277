"""The cycle models against published counts: tables of sequences, each with its source.

One table a core, `cortex_m4_sequences.toml` and its like; the head of the Cortex-M4's says what the
fields mean.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from mcuq_lab.nucleosim.timing.cost import BlockCost, Place, TimingModel
from mcuq_lab.nucleosim.timing.memory import ZERO_WAIT_STATES, Memory
from mcuq_lab.nucleosim.timing.models import timing_model

_LONG = bytes.fromhex("b8e8ff00")  # ldmia r8!, {r0-r7}: lets the FIFO fill
_MOVE = bytes.fromhex("e446")  # mov r12, r12: one cycle, 16 bits, touches no address register
_WIDE = bytes.fromhex("41eb0200")  # adc.w r0, r1, r2
_NOPS = bytes.fromhex("00bf") * 16
_MOVES_AFTER = 8
_TURNS = 32
_FEW_COPIES = 4
_MANY_COPIES = 14


@dataclass(frozen=True)
class TimedSequence:
    """One row of a table."""

    core: str
    rule: str
    kind: str
    asm: str
    code: bytes
    cycles: int
    """What is published."""
    source: str
    place: str = "lower"
    target: str = "lower"
    address: int = 0
    """Where it starts, modulo 8."""
    places: tuple[Place, ...] = ()
    store_after_load_stall_cycles: int = 0
    part_store_cycles: int = 1
    modelled: int | None = None
    """What the model says instead, where it does not meet the published count."""


@dataclass(frozen=True)
class BenchmarkRow:
    """What the model makes of one sequence."""

    rule: str
    core: str
    asm: str
    expected_cycles: int
    modelled_cycles: int
    source: str


@cache
def load_sequences(core: str = "cortex-m4") -> tuple[TimedSequence, ...]:
    """The committed table of a core."""
    name = f"{core.replace('-', '_')}_sequences.toml"
    table = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return tuple(_sequence(core, **row) for row in tomllib.loads(table)["sequence"])


def _sequence(
    core: str, code: str, places: Mapping[str, Sequence] | None = None, **row
) -> TimedSequence:
    pointed = tuple(
        Place(int(register.removeprefix("r")), residue, Memory[memory.upper()])
        for register, (memory, residue) in (places or {}).items()
    )
    return TimedSequence(core, code=bytes.fromhex(code), places=pointed, **row)


def cores_with_a_table() -> tuple[str, ...]:
    """Names of the cores whose models are held against published counts."""
    names = (path.name for path in resources.files(__package__).iterdir())
    suffix = "_sequences.toml"
    found = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
    return tuple(sorted(stem.replace("_", "-") for stem in found))


def benchmark_rows(cores: Sequence[str] | None = None) -> tuple[BenchmarkRow, ...]:
    """Every sequence of the cores' tables, run through the model: expected and modelled cycles."""
    return tuple(
        BenchmarkRow(s.rule, core, s.asm, s.cycles, modelled_cycles(s), s.source)
        for core in (cores_with_a_table() if cores is None else cores)
        for s in load_sequences(core)
    )


def modelled_cycles(sequence: TimedSequence) -> int:
    """Cycles of the sequence in its setting. Raises ValueError for a kind it does not know."""
    memory = replace(
        ZERO_WAIT_STATES,
        store_after_load_stall_cycles=(sequence.store_after_load_stall_cycles,) * len(Memory),
        part_store_cycles=sequence.part_store_cycles,
    )
    model = timing_model(sequence.core, memory)
    match sequence.kind:
        case "straight":
            return _straight_cycles(model, sequence)
        case "jump":
            return _jump_cycles(model, sequence)
        case "loop":
            return _loop_cycles(model, sequence)
        case "issue":
            return _issue_cycles(model, sequence)
        case "repeat":
            return _repeat_cycles(model, sequence)
        case "mispredict":
            return model.block_cost(
                0, _NOPS + sequence.code, model.initial_state, sequence.places
            ).mispredict_cycles
    raise ValueError(f"sequence {sequence.asm!r}: unknown kind {sequence.kind!r}")


def _straight_cycles(model: TimingModel, sequence: TimedSequence) -> int:
    before = _LONG + _MOVE * (1 if sequence.place == "upper" else 2)
    entry = model.block_cost(0, before, model.initial_state)
    code = sequence.code + _MOVE * _MOVES_AFTER
    rest = model.block_cost(len(before), code, entry.exit_fallthrough, sequence.places)
    return rest.cycles_fallthrough - _MOVES_AFTER


def _jump_cycles(model: TimingModel, sequence: TimedSequence) -> int:
    before = _LONG + _MOVE * 2
    entry = model.block_cost(0, before, model.initial_state)
    jump = model.block_cost(len(before), sequence.code, entry.exit_fallthrough, sequence.places)
    target = 0x102 if sequence.target == "upper" else 0x100
    landed = model.block_cost(target, _WIDE, jump.exit_taken)
    return jump.cycles_taken + landed.cycles_fallthrough - 1


def _loop_cycles(model: TimingModel, sequence: TimedSequence) -> int:
    state = model.initial_state
    turn = BlockCost(0, 0, 0, 0)
    for _ in range(_TURNS):
        turn = model.block_cost(sequence.address, sequence.code, state, sequence.places)
        state = turn.exit_taken
    return turn.cycles_taken


def _issue_cycles(model: TimingModel, sequence: TimedSequence) -> int:
    entry = model.block_cost(0, _NOPS, model.initial_state)
    return model.block_cost(
        len(_NOPS), sequence.code, entry.exit_fallthrough, sequence.places
    ).cycles_fallthrough


def _repeat_cycles(model: TimingModel, sequence: TimedSequence) -> int:
    few, many = (
        model.block_cost(0, sequence.code * copies, model.initial_state, sequence.places)
        for copies in (_FEW_COPIES, _MANY_COPIES)
    )
    return many.cycles_fallthrough - few.cycles_fallthrough
