"""`mcuq profile`: its JSON is a contract, as are the two figures and the exit codes."""

import json

import pytest
from typer.testing import CliRunner

from mcuq_lab.cli.main import app
from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS

KEYS = {
    "model", "policy", "engine", "layer", "board", "simulated", "cycles", "sysclk_hz",
    "flash_wait_states", "compiler", "flags", "timing_model", "functions", "calls", "blocks",
}  # fmt: skip
FUNCTION_KEYS = {
    "function", "calls", "instructions", "cycles", "share", "inclusive_cycles", *CAUSE_COLUMNS,
}  # fmt: skip
BLOCK_KEYS = {
    "address", "size_bytes", "function", "line", "executions", "instructions", "cycles",
    "cycles_per_execution", *CAUSE_COLUMNS,
}  # fmt: skip
LAYER = ("--model", "resnet8", "--layer", "stack3_shortcut", "--simulated")


def run(*arguments: str):
    return CliRunner().invoke(app, ["profile", *arguments])


def test_json_is_one_document_whose_rows_add_up(tmp_path):
    figure = tmp_path / "shortcut.svg"
    done = run(*LAYER, "--json", "--figure", str(figure))
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == KEYS
    assert (found["layer"], found["policy"], found["simulated"]) == (LAYER[3], "w4a4", True)
    for name, keys in (("functions", FUNCTION_KEYS), ("blocks", BLOCK_KEYS)):
        assert all(row.keys() == keys for row in found[name])
        assert sum(row["cycles"] for row in found[name]) == found["cycles"]
    for row in found["blocks"]:
        assert sum(row[column] for column in CAUSE_COLUMNS) == row["cycles"]
        assert isinstance(row["executions"], int)
    assert {row["callee"] for row in found["calls"]} < {r["function"] for r in found["functions"]}
    assert "simulated" in figure.read_text()
    assert "callees not included" in (tmp_path / "shortcut-causes.svg").read_text()


def test_tables_for_people():
    done = run(*LAYER, "--engine", "cmsis_nn", "--policy", "w8a8")
    assert done.exit_code == 0, done.stderr
    assert "cn_convolve" in done.stdout
    assert "0x0800" in done.stdout
    assert "timing_model" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--layer", "absent", "--simulated"), "no layer 'absent'"),
        (("--engine", "cmsis_nn", "--policy", "w4a4", "--simulated"), "runs w8a8"),
        ((*LAYER, "--figure", "absent_folder/a.png"), "cannot be written"),
        ((*LAYER, "--figure", "a.xyz"), "cannot be written"),
    ],
)
def test_mistakes_end_with_2_and_say_what_to_do(arguments, message):
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
