"""Runs a program on the simulated board and checks what it computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.errors import NucleoSimError
from mcuq_lab.nucleosim.programs.program import Counted, Program, assembled, programs
from mcuq_lab.nucleosim.programs.tasks import Task

PARAMETERS = 0x2000_0000
RESULT = PARAMETERS + 16

_DHCSR = 0xE000_EDF0
_CCR = 0xE000_ED14
_CACHES_ON = 0x0003_0200  # DC, IC, STKALIGN
_DEBUG_ENABLE = 0xA05F_0001
_HALTED = 1 << 17
_MOST_POLLS = 200
_WIDE_NOP = bytes.fromhex("aff30080")  # a word and a cycle

# What the harness counts besides the function: the first read with its NOP, BL, two NOPs.
_HARNESS_CYCLES = {
    Counted.FUNCTION: 2 + 2 + 2,
    Counted.CALL: 2 + 2,
    Counted.BETWEEN_READS: 2,
}


@dataclass(frozen=True)
class ProgramRow:
    """What a program took, on silicon and here."""

    program: str
    core: str
    board: str
    published_cycles: float
    modelled_cycles: float
    source: str
    kind: str
    nearness: str

    @property
    def deviation(self) -> float:
        """Modelled over published, less one."""
        return self.modelled_cycles / self.published_cycles - 1


def program_rows() -> tuple[ProgramRow, ...]:
    """Every program, run on its simulated board.

    Raises:
        NucleoSimError: a program does not end, or computes something else than it should.
    """
    boards: dict[str, SimulatedBoard] = {}
    rows = []
    for program in programs():
        if program.simulated_board not in boards:
            chip = load_chip(program.simulated_board)
            boards[program.simulated_board] = SimulatedBoard(chip)
        cycles = modelled_cycles(program, boards[program.simulated_board])
        rows.append(
            ProgramRow(
                program=program.name,
                core=program.core,
                board=program.board,
                published_cycles=program.published_cycles,
                modelled_cycles=cycles,
                source=program.source,
                kind=program.kind,
                nearness=program.nearness,
            )
        )
    return tuple(rows)


def modelled_cycles(program: Program, board: SimulatedBoard) -> float:
    """Cycles of a program on a board, counted as the published ones are."""
    return mean(_cycles_at(place, program, board) for place in program.places)


def _cycles_at(place: int, program: Program, board: SimulatedBoard) -> float:
    if program.turns is None:
        task = program.task(**program.parameters)
        cycles = _run(program.code_name, task, board, place)
        if program.baseline_name is None:
            return cycles - _HARNESS_CYCLES[program.counted]
        return cycles - _run(program.baseline_name, replace(task, outputs={}), board, place)
    few, many = (
        _run(program.code_name, program.task(turns=turns, **program.parameters), board, place)
        for turns in program.turns
    )
    return (many - few) / (program.turns[1] - program.turns[0])


def _run(name: str, task: Task, board: SimulatedBoard, place: int) -> int:
    """What the harness counts of a piece of code that lies `place` words further on."""
    flash = board.chip.flash
    image = bytearray(b"\xff" * flash.size_bytes)
    code = assembled()["harness"] + _WIDE_NOP * place + assembled()[name]
    image[: len(code)] = code
    for address, data in task.inputs.items():
        if flash.start <= address < flash.start + flash.size_bytes:
            offset = address - flash.start
            image[offset : offset + len(data)] = data
        else:
            board.write(address, data)
    board.load_flash_image(bytes(image))
    arguments = (*task.arguments, 0, 0, 0, 0)[:4]
    board.write(PARAMETERS, b"".join(word.to_bytes(4, "little") for word in arguments))
    board.reset_by_pin()
    if board.chip.core.icache_bytes:
        board.write(_CCR, _CACHES_ON.to_bytes(4, "little"))
    board.write(_DHCSR, _DEBUG_ENABLE.to_bytes(4, "little"))
    for _ in range(_MOST_POLLS):
        if int.from_bytes(board.read(_DHCSR, 4), "little") & _HALTED:
            break
    else:
        raise NucleoSimError(f"program {name!r} does not reach its end on the board.")
    for address, expected in task.outputs.items():
        found = board.read(address, len(expected))
        if found != expected:
            raise NucleoSimError(
                f"program {name!r}: at {address:#x} {found.hex()}, not {expected.hex()}. "
                "Correct its assembly."
            )
    return int.from_bytes(board.read(RESULT, 4), "little") - place
