"""`mcuq figures` and `mcuq claims`: pictures and verdicts from a file of model benchmarks."""

import json

import pytest
from typer.testing import CliRunner

from mcuq_lab.cli.main import app


def row(engine, policy, cycles, accuracy=0.8):
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
        "data": "digits",
        "origin": "post-training",
        "accuracy": accuracy,
        "float_accuracy": 0.8,
        "n_images": 100,
    }


def write(path, rows, wait_states=0):
    document = {"rows": rows, "sysclk_hz": 16_000_000, "flash_wait_states": wait_states}
    path.write_text(json.dumps(document))
    return str(path)


ROWS = [row("cmsis_nn", "w8a8", 30_000_000), row("liteengine", "w4a4", 6_000_000)]


def test_draws_all_figures(tmp_path):
    models = write(tmp_path / "models.json", ROWS)
    full = write(tmp_path / "full.json", ROWS, wait_states=3)
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["figures", models, str(out), "--full-clock", full])
    assert done.exit_code == 0, done.stderr
    names = ("speedup", "memory", "claimed_speed", "claimed_memory", "networks", "published")
    found = {path.name for path in out.iterdir()}
    assert found == {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    for name in names:
        assert "simulated" in (out / f"{name}.svg").read_text()
    assert "5.0x" in (out / "speedup.svg").read_text()
    assert "claimed on the poster: 1.6 to 3x" in (out / "claimed_speed.svg").read_text()


def test_without_accuracies_there_is_no_picture_of_them(tmp_path):
    rows = [{k: v for k, v in r.items() if "accuracy" not in k} for r in ROWS]
    models = write(tmp_path / "models.json", rows)
    done = CliRunner().invoke(app, ["figures", models, str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    assert not (tmp_path / "out" / "networks.png").exists()
    assert "LiteEngine at w4a4" in (tmp_path / "out" / "claimed_speed.svg").read_text()


def test_claims_are_written_and_printed(tmp_path):
    models = write(tmp_path / "models.json", ROWS)
    done = CliRunner().invoke(app, ["claims", models, str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.stderr
    printed = json.loads(done.stdout)
    assert json.loads((tmp_path / "out" / "claims.json").read_text()) == printed
    (speed,) = (line for line in printed["summary"] if line["claim"] == "speed")
    assert (speed["lowest"], speed["reached"]) == (5.0, 1)
    assert "| resnet8 | w4a4" in (tmp_path / "out" / "claims.md").read_text()


@pytest.mark.parametrize("command", ["figures", "claims"])
@pytest.mark.parametrize("text", ["", "[]", '{"rows": []}'])
def test_other_files_are_refused(tmp_path, text, command):
    path = tmp_path / "models.json"
    path.write_text(text)
    done = CliRunner().invoke(app, [command, str(path), str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "mcuq bench models --output" in done.stderr
