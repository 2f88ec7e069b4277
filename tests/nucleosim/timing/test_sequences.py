"""The cycle models against the committed tables of published cycle counts."""

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
from mcuq_lab.nucleosim.timing.rankings import load_rankings

CORES = cores_with_a_table()
FPUS = {"cortex-m4": "fpv4-sp-d16", "cortex-m7": "fpv5-d16"}
SEQUENCES = [sequence for core in CORES for sequence in load_sequences(core)]
ASSEMBLER = shutil.which("arm-none-eabi-as")


@pytest.mark.parametrize(
    "sequence", SEQUENCES, ids=lambda s: f"{s.core[-2:]} {s.kind}: {s.asm}"[:60]
)
def test_published_count(sequence: TimedSequence) -> None:
    """Met, or missed by just what the table says."""
    says = sequence.cycles if sequence.modelled is None else sequence.modelled
    assert modelled_cycles(sequence) == says, sequence.source


@pytest.mark.parametrize("core", CORES)
def test_rows_hold_what_was_modelled(core: str) -> None:
    rows = benchmark_rows([core])
    sequences = load_sequences(core)
    assert len(rows) == len(sequences) >= 100
    assert {row.core for row in rows} == {core}
    assert all(row.source and row.rule for row in rows)
    for row, sequence in zip(rows, sequences, strict=True):
        met = row.modelled_cycles == row.expected_cycles
        assert met == (sequence.modelled is None), row


def test_all_tables_are_run() -> None:
    assert set(CORES) == set(FPUS)
    assert {row.core for row in benchmark_rows()} == set(CORES)


@pytest.mark.skipif(ASSEMBLER is None, reason="needs arm-none-eabi-as")
@pytest.mark.parametrize("core", CORES)
def test_code_is_what_the_assembler_makes(core: str, tmp_path: Path) -> None:
    """One file, every sequence at a multiple of 256 bytes, compared byte by byte."""
    slot = 256
    sequences = [*load_sequences(core)]
    if core == "cortex-m7":
        sequences += (s for pair in load_rankings() for s in (pair.faster, pair.slower))
    head = f".syntax unified\n.cpu {core}\n.fpu {FPUS[core]}\n.thumb\n"
    parts = []
    for n, sequence in enumerate(sequences):
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
    for n, sequence in enumerate(sequences):
        assert code[n * slot : n * slot + len(sequence.code)] == sequence.code, sequence.asm
