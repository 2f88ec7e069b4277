"""`mcuq figures`: pictures from a file of model benchmarks."""

import json

import pytest
from typer.testing import CliRunner

from mcuq_lab.cli.main import app


def row(engine, policy, cycles):
    return {
        "model": "resnet8",
        "policy": policy,
        "engine": engine,
        "board": "nucleo_f412zg",
        "simulated": True,
        "cycles": cycles,
        "sram_peak_bytes": 50_000,
        "flash_total_bytes": 90_000,
        "bit_exact": True,
    }


def test_draws_both_figures(tmp_path):
    models = tmp_path / "models.json"
    rows = [row("cmsis_nn", "w8a8", 30_000_000), row("liteengine", "w4a4", 6_000_000)]
    models.write_text(json.dumps({"rows": rows, "sysclk_hz": 16_000_000, "flash_wait_states": 0}))
    done = CliRunner().invoke(app, ["figures", str(models), str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"speedup.png", "speedup.svg", "memory.png", "memory.svg"}
    svg = (tmp_path / "out" / "speedup.svg").read_text()
    assert "5.0x" in svg
    assert "(simulated)" in svg


@pytest.mark.parametrize("text", ["", "[]", '{"rows": []}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "models.json"
    path.write_text(text)
    done = CliRunner().invoke(app, ["figures", str(path), str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "mcuq bench models --output" in done.stderr
