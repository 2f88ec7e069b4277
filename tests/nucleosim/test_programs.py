"""Whole programs with published cycle counts: they compute what they should, and take as long."""

import shutil
import subprocess
from dataclasses import replace

import pytest

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.errors import NucleoSimError
from mcuq_lab.nucleosim.programs import ProgramRow, program_rows, tasks
from mcuq_lab.nucleosim.programs.accuracy import accuracies
from mcuq_lab.nucleosim.programs.assemble import COMPILER_VERSION, assemble, sources
from mcuq_lab.nucleosim.programs.program import Program, assembled, programs
from mcuq_lab.nucleosim.programs.run import modelled_cycles
from mcuq_lab.nucleosim.timing import TimingModel, benchmark_rows
from mcuq_lab.nucleosim.timing.cortex_m4 import CortexM4
from mcuq_lab.nucleosim.timing.cortex_m7 import CortexM7

needs_assembler = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="needs arm-none-eabi-gcc"
)


@pytest.fixture(scope="module")
def rows() -> dict[str, ProgramRow]:
    return {row.program: row for row in program_rows()}


@pytest.fixture(scope="module")
def board() -> SimulatedBoard:
    return SimulatedBoard(load_chip("nucleo-f412zg"))


@pytest.mark.parametrize("program", programs(), ids=lambda program: program.name)
def test_modelled_and_published_cycles(program: Program, rows: dict[str, ProgramRow]) -> None:
    """Within the bounds that `programs.toml` states; the rows came from runs that were checked."""
    row = rows[program.name]
    assert row.published_cycles == program.published_cycles
    assert abs(row.deviation) <= program.bound, row
    assert row.source
    assert row.nearness


@needs_assembler
@pytest.mark.parametrize(("name", "source"), list(sources()), ids=lambda value: str(value))
def test_code_is_what_the_assembler_makes(name: str, source) -> None:
    if source.suffix == ".c":
        command = ["arm-none-eabi-gcc", "-dumpfullversion"]
        version = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if not version.startswith(COMPILER_VERSION):
            pytest.skip(f"made by gcc {COMPILER_VERSION}, not {version}")
    assert assembled()[name] == assemble(source)


def test_no_code_without_a_source() -> None:
    assert set(assembled()) == {name for name, _ in sources()}


def test_a_program_that_computes_something_else_is_no_row(board: SimulatedBoard) -> None:
    program = programs()[1]

    def wrong(**parameters: int) -> tasks.Task:
        return replace(program.task(**parameters), outputs={tasks.OUTPUT: bytes(64)})

    with pytest.raises(NucleoSimError, match="cortex_m4/chacha20"):
        modelled_cycles(replace(program, task=wrong), board)


def test_a_program_takes_as_long_each_time(board: SimulatedBoard) -> None:
    program = programs()[1]
    assert modelled_cycles(program, board) == modelled_cycles(program, board)


def test_accuracy_by_class_of_code() -> None:
    def row(core: str, kind: str, published: float, modelled: float) -> ProgramRow:
        return ProgramRow("", core, "", published, modelled, "", kind, "")

    assembly, compiled, other = accuracies(
        [
            row("cortex-m4", "assembly", 100, 90),
            row("cortex-m4", "compiled", 100, 101),
            row("cortex-m4", "assembly", 200, 204),
            row("cortex-m7", "assembly", 100, 100),
        ]
    )
    assert (assembly.programs, compiled.programs, other.programs) == (2, 1, 1)
    assert assembly.mean == pytest.approx(-0.04)
    assert assembly.mean_absolute == pytest.approx(0.06)
    assert assembly.largest == pytest.approx(-0.1)
    assert str(assembly) == "2 programs, deviation 6.0 % in the mean and -10.0 % at most"
    assert (other.core, other.largest) == ("cortex-m7", 0)
    assert str(compiled) == "1 program, deviation 1.0 % in the mean and +1.0 % at most"


@pytest.mark.parametrize("model", [CortexM4, CortexM7], ids=lambda model: model.name)
def test_stated_uncertainty_is_that_of_the_tables(
    model: type[TimingModel], rows: dict[str, ProgramRow]
) -> None:
    sequences = benchmark_rows([model.name])
    met = sum(row.modelled_cycles == row.expected_cycles for row in sequences)
    assert f"{met} of {len(sequences)} published sequences" in model.uncertainty
    for accuracy in accuracies(row for row in rows.values() if row.core == model.name):
        assert str(accuracy) in model.uncertainty


def test_aes_reference() -> None:
    """FIPS 197, appendices A.1 and C.1."""
    keys = tasks.aes_round_keys(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    assert keys[-16:].hex() == "d014f9a8c9ee2589e13f0cc8b6630ca6"
    task = tasks.aes_encrypt()
    assert task.inputs[tasks.INPUT].hex() == "00112233445566778899aabbccddeeff"
    assert task.outputs[tasks.OUTPUT].hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_chacha_reference() -> None:
    """RFC 8439, 2.2.1: a quarter round within a state."""
    state = [0] * 16
    state[2], state[7], state[8], state[13] = 0x516461B1, 0x2A5F714C, 0x53372767, 0x3D631689
    tasks.quarter_round(state, 2, 7, 8, 13)
    assert (state[2], state[7], state[8], state[13]) == (
        0xBDB886DC,
        0xCFACAFD2,
        0xE46BEA80,
        0xCCC07C79,
    )
