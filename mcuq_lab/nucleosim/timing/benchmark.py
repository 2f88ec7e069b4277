"""The cycle model against published counts: a table of sequences, each with its source."""

import tomllib
from dataclasses import dataclass, replace
from importlib import resources

from mcuq_lab.nucleosim.timing.cortex_m4 import CortexM4
from mcuq_lab.nucleosim.timing.cost import BlockCost
from mcuq_lab.nucleosim.timing.memory import ZERO_WAIT_STATES

_LONG = bytes.fromhex("b8e8ff00")  # ldmia r8!, {r0-r7}: lets the FIFO fill
_MOVE = bytes.fromhex("e446")  # mov r12, r12: one cycle, 16 bits, touches no address register
_WIDE = bytes.fromhex("41eb0200")  # adc.w r0, r1, r2
_MOVES_AFTER = 8
_TURNS = 32


@dataclass(frozen=True)
class Sequence:
    """One row of the table; the file's head says what the fields mean."""

    rule: str
    kind: str
    asm: str
    code: bytes
    cycles: int
    source: str
    place: str = "lower"
    target: str = "lower"
    store_after_load_stall_cycles: int = 0


@dataclass(frozen=True)
class BenchmarkRow:
    """What the model makes of one sequence."""

    rule: str
    core: str
    asm: str
    expected_cycles: int
    modelled_cycles: int
    source: str


def load_sequences() -> tuple[Sequence, ...]:
    """The committed table of the Cortex-M4."""
    table = resources.files(__package__).joinpath("cortex_m4_sequences.toml").read_text()
    return tuple(
        Sequence(**{**row, "code": bytes.fromhex(row["code"])})
        for row in tomllib.loads(table)["sequence"]
    )


def benchmark_rows() -> tuple[BenchmarkRow, ...]:
    """Every sequence of the table, run through the model: expected and modelled cycles."""
    return tuple(
        BenchmarkRow(s.rule, CortexM4.name, s.asm, s.cycles, modelled_cycles(s), s.source)
        for s in load_sequences()
    )


def modelled_cycles(sequence: Sequence) -> int:
    """Cycles of the sequence in its setting. Raises ValueError for a kind it does not know."""
    memory = replace(
        ZERO_WAIT_STATES,
        store_after_load_stall_cycles=sequence.store_after_load_stall_cycles,
    )
    model = CortexM4(memory)
    match sequence.kind:
        case "straight":
            return _straight_cycles(model, sequence)
        case "jump":
            return _jump_cycles(model, sequence)
        case "loop":
            return _loop_cycles(model, sequence)
    raise ValueError(f"sequence {sequence.asm!r}: unknown kind {sequence.kind!r}")


def _straight_cycles(model: CortexM4, sequence: Sequence) -> int:
    before = _LONG + _MOVE * (1 if sequence.place == "upper" else 2)
    entry = model.block_cost(0, before, model.initial_state)
    rest = model.block_cost(
        len(before), sequence.code + _MOVE * _MOVES_AFTER, entry.exit_fallthrough
    )
    return rest.cycles_fallthrough - _MOVES_AFTER


def _jump_cycles(model: CortexM4, sequence: Sequence) -> int:
    before = _LONG + _MOVE * 2
    entry = model.block_cost(0, before, model.initial_state)
    jump = model.block_cost(len(before), sequence.code, entry.exit_fallthrough)
    target = 0x102 if sequence.target == "upper" else 0x100
    landed = model.block_cost(target, _WIDE, jump.exit_taken)
    return jump.cycles_taken + landed.cycles_fallthrough - 1


def _loop_cycles(model: CortexM4, sequence: Sequence) -> int:
    state = model.initial_state
    turn = BlockCost(0, 0, 0, 0)
    for _ in range(_TURNS):
        turn = model.block_cost(0, sequence.code, state)
        state = turn.exit_taken
    return turn.cycles_taken
