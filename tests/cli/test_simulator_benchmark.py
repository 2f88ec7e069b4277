"""`mcuq bench simulator`: what it measures, and the JSON that is a contract."""

import json

import pytest
from typer.testing import CliRunner

from mcuq_lab import simulator_benchmark
from mcuq_lab.cli.main import app
from mcuq_lab.nucleosim import speed

pytestmark = pytest.mark.slow

KEYS = {
    "m4_mips", "m7_mips", "m4_flash_mips", "untimed_mips", "session_open_s", "flash_200kb_s",
    "rules", "programs",
}  # fmt: skip
RULE_KEYS = {"rule", "core", "expected_cycles", "modelled_cycles", "source"}
PROGRAM_KEYS = {"program", "core", "board", "published_cycles", "modelled_cycles", "source"}


@pytest.fixture(scope="module")
def document():
    patch = pytest.MonkeyPatch()
    # A call or two of each kernel: what is tested is not the speed.
    patch.setattr(speed, "_LEAST_S", 0.001)
    patch.setattr(speed, "_ROUNDS", 1)
    done = CliRunner().invoke(app, ["bench", "simulator", "--json"])
    patch.undo()
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_contract(document):
    assert document.keys() >= KEYS
    for key in KEYS - {"rules", "programs"}:
        assert document[key] > 0
    assert all(row.keys() >= RULE_KEYS for row in document["rules"])
    assert all(row.keys() >= PROGRAM_KEYS for row in document["programs"])


def test_both_cores_are_in_the_tables(document):
    cores = {"cortex-m4", "cortex-m7"}
    assert {row["core"] for row in document["rules"]} == cores
    assert {row["core"] for row in document["programs"]} == cores


def test_every_kernel_ran_on_every_setting(document):
    found = {
        (row["board"], row["clock"], row["engine"], row["policy"]): row
        for row in document["speeds"]
    }
    assert len(found) == len(simulator_benchmark.SETTINGS) * len(simulator_benchmark.ENGINES)
    for (board, clock, engine, policy), row in found.items():
        reset = found[board, "reset", engine, policy]
        assert row["instructions"] == reset["instructions"]
        # At the maximum clock flash is slower than the core. The Cortex-M7's caches hold all of it.
        if clock == "max":
            assert row["cycles"] >= reset["cycles"]
            assert row["cycles"] > reset["cycles"] or board == "nucleo_f767zi"
