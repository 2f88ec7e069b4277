"""The Cortex-M4 model against the committed table of published cycle counts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from mcuq_lab.nucleosim.timing.benchmark import (
    TimedSequence,
    benchmark_rows,
    cores_with_a_table,
    load_sequences,
    modelled_cycles,
)

SEQUENCES = load_sequences("cortex-m4")
ASSEMBLER = shutil.which("arm-none-eabi-as")


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: f"{s.kind}: {s.asm}"[:60])
def test_published_count(sequence: TimedSequence) -> None:
    """Met, or missed by just what the table says."""
    says = sequence.cycles if sequence.modelled is None else sequence.modelled
    assert modelled_cycles(sequence) == says, sequence.source


def test_rows_hold_what_was_modelled() -> None:
    rows = benchmark_rows(["cortex-m4"])
    assert len(rows) == len(SEQUENCES)
    assert {row.core for row in rows} == {"cortex-m4"}
    assert all(row.source and row.rule for row in rows)
    for row, sequence in zip(rows, SEQUENCES, strict=True):
        met = row.modelled_cycles == row.expected_cycles
        assert met == (sequence.modelled is None), row


def test_all_tables_are_run() -> None:
    assert "cortex-m4" in cores_with_a_table()
    assert {row.core for row in benchmark_rows()} == set(cores_with_a_table())


@pytest.mark.skipif(ASSEMBLER is None, reason="needs arm-none-eabi-as")
def test_code_is_what_the_assembler_makes(tmp_path: Path) -> None:
    """One file, every sequence at a multiple of 64 bytes, compared byte by byte."""
    slot = 128
    head = ".syntax unified\n.cpu cortex-m4\n.fpu fpv4-sp-d16\n.thumb\n"
    parts = []
    for n, sequence in enumerate(SEQUENCES):
        lines = "\n".join(line.strip() for line in sequence.asm.split(";"))
        parts.append(f".org {n * slot}\n{lines}\n")
    source = tmp_path / "sequences.s"
    source.write_text(head + "".join(parts))
    run = [ASSEMBLER, str(source), "-o", str(tmp_path / "sequences.o")]
    subprocess.run(run, check=True, capture_output=True)
    image = tmp_path / "sequences.bin"
    subprocess.run(
        ["arm-none-eabi-objcopy", "-O", "binary", "-j", ".text", run[-1], str(image)], check=True
    )
    code = image.read_bytes()
    for n, sequence in enumerate(SEQUENCES):
        assert code[n * slot : n * slot + len(sequence.code)] == sequence.code, sequence.asm
