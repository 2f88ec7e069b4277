"""The commands' JSON is a contract: keys, exit codes, and nothing else on stdout."""

import json
import shutil
import subprocess
import sys
from importlib import import_module

import pytest
import typer
from typer.testing import CliRunner

from mcuq_lab import tuning
from mcuq_lab.cli.main import COMMANDS, app

MEASURE_KEYS = {
    "model", "data", "policy", "engine", "board", "simulated", "cycles_min", "cycles_median",
    "cycles_max", "latency_ms", "sysclk_hz", "flash_wait_states", "sram_static_bytes",
    "sram_arena_bytes", "sram_scratch_bytes", "sram_stack_bytes", "sram_peak_bytes",
    "flash_code_bytes", "flash_weights_bytes", "flash_total_bytes", "accuracy", "n_images",
    "bit_exact", "layers", "seconds", "compiler", "timing_model",
}  # fmt: skip
MEASURE_LAYER_KEYS = {
    "name", "op", "policy", "kernel", "macs", "cycles", "macs_per_cycle", "weights_bytes",
}  # fmt: skip
LAYER_KEYS = {
    "layer", "policy", "engine", "board", "macs", "cycles", "macs_per_cycle", "code_bytes",
    "weights_bytes", "scratch_bytes", "bit_exact",
}  # fmt: skip
MODEL_KEYS = {
    "model", "policy", "engine", "board", "cycles", "sram_peak_bytes", "flash_total_bytes",
    "bit_exact",
}  # fmt: skip


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def result_of(*arguments: str):
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_boards():
    found = result_of("boards")
    (board,) = [b for b in found if b["id"] == "nucleo_f412zg" and b["simulated"]]
    assert board["probe_uid"] == "sim:nucleo-f412zg"
    assert board["pyocd_target"] == "stm32f412xg"
    assert board["flash_bytes"] == 1024 * 1024
    assert board["sram_bytes"] == 256 * 1024
    assert board["sysclk_hz"] == 16_000_000
    assert (board["name"], board["core"]) == ("NUCLEO-F412ZG", "cortex-m4")
    cores = {board["id"]: (board["core"], board["sram_bytes"]) for board in found}
    assert cores["nucleo_f767zi"] == ("cortex-m7", 512 * 1024)
    assert cores["nucleo_h743zi"] == ("cortex-m7", 512 * 1024)


@pytest.mark.slow
def test_tune(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "tables_directory", lambda: tmp_path)
    found = result_of("tune", "--model", "resnet8", "--policy", "w4a4", "--simulated")
    assert found.keys() == {
        "model", "policy", "board", "simulated", "measured", "board_runs", "seconds", "schedule",
        "table", "layers",
    }  # fmt: skip
    assert (found["policy"], found["board"], found["simulated"]) == ("w4a4", "nucleo_f412zg", True)
    assert found["measured"] > 10
    assert 1 <= found["board_runs"] <= 4
    assert found["schedule"] == "tuned"
    names = [layer["name"] for layer in found["layers"]]
    assert names[:2] == ["stem", "stack1_conv1_to_stack1_add"]  # in strips


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "policy"), [("liteengine", "w4a4"), ("cmsis_nn", "w8a8")])
def test_measure(engine, policy):
    found = result_of(
        "measure", "--model", "resnet8", "--policy", policy, "--engine", engine,
        "--board", "nucleo_f412zg", "--n-images", "100", "--simulated",
    )  # fmt: skip
    assert found.keys() >= MEASURE_KEYS
    assert found["layers"][0].keys() >= MEASURE_LAYER_KEYS
    assert found["simulated"] is True
    assert found["bit_exact"] is True
    assert found["policy"] == policy
    assert found["accuracy"] > 0.5
    assert found["n_images"] == 100
    assert found["latency_ms"] == pytest.approx(found["cycles_median"] / 16e3)
    assert found["sram_peak_bytes"] == (
        found["sram_static_bytes"] + found["sram_arena_bytes"] + found["sram_stack_bytes"]
    )
    assert found["sram_arena_touched_bytes"] <= found["sram_arena_bytes"]
    assert sum(layer["macs"] for layer in found["layers"]) == 12_501_632
    assert {"generate", "build", "flash", "run"} <= found["seconds"].keys()
    # Reading the counter between layers costs next to nothing.
    by_layer = sum(layer["cycles"] for layer in found["layers"])
    assert by_layer == pytest.approx(found["cycles_median"], rel=0.01)


@pytest.mark.slow
def test_measure_within_an_arena():
    found = result_of(
        "measure", "--model", "resnet8", "--policy", "w8a8", "--arena-bytes", "36000",
        "--n-images", "0", "--simulated",
    )  # fmt: skip
    assert (found["accuracy"], found["n_images"]) == (None, 0)
    assert found["sram_arena_touched_bytes"] <= found["sram_arena_bytes"] <= 36000
    assert found["bit_exact"] is True
    assert "Strips" in [layer["op"] for layer in found["layers"]]
    assert sum(layer["macs"] for layer in found["layers"]) == 12_501_632


def test_measure_repeats_exactly():
    first, again = (
        result_of("bench", "layers", "--layer", "c3_8x4_4", "--policy", "w4a4") for _ in range(2)
    )
    assert first == again


def test_bench_layers_of_any_shape():
    rows = result_of(
        "bench", "layers", "--layer", "c3_10x12_20", "--policy", "w8a8", "--policy", "w3a5"
    )
    assert {(row["policy"], row["engine"]) for row in rows} == {
        ("w8a8", "liteengine"),
        ("w8a8", "cmsis_nn"),
        ("w8a8", "cmix_nn"),
        ("w8a8", "tinyengine"),
        ("w3a5", "liteengine"),
    }
    for row in rows:
        assert row.keys() >= LAYER_KEYS
        assert row["bit_exact"] is True
        assert row["macs"] == 10 * 10 * 9 * 12 * 20
        assert row["macs_per_cycle"] == pytest.approx(row["macs"] / row["cycles"])
        assert row["code_bytes"] > 0


@pytest.mark.slow
def test_bench_models():
    (row,) = result_of(
        "bench", "models", "--model", "squeezenet_tiny", "--policy", "w2a2", "--engine",
        "liteengine",
    )  # fmt: skip
    assert row.keys() >= MODEL_KEYS
    assert row["bit_exact"] is True
    assert (row["accuracy"], row["float_accuracy"], row["n_images"]) == (None, None, 0)
    assert "untrained" in row["weights_note"]


@pytest.mark.slow
def test_bench_models_within_a_budget_of_flash():
    rows = result_of(
        "bench", "models", "--model", "resnet8", "--policy", "w8a8", "--policy", "w4a4",
        "--engine", "liteengine", "--engine", "cmsis_nn", "--n-images", "0",
        "--flash-bytes", "60000",
    )  # fmt: skip
    found = {(row["engine"], row["policy"]): row for row in rows}
    assert set(found) == {("liteengine", "w4a4"), ("cmsis_nn", "w8a8")}  # w8a8 does not fit
    assert found["liteengine", "w4a4"]["flash_total_bytes"] <= 60_000
    assert found["cmsis_nn", "w8a8"]["flash_total_bytes"] > 60_000


@pytest.mark.slow
def test_bench_models_scores_each_engine_on_its_own_integers():
    rows = result_of(
        "bench", "models", "--model", "resnet8", "--policy", "w8a8", "--policy", "w4a4",
        "--n-images", "100",
    )  # fmt: skip
    found = {(row["engine"], row["policy"]): row for row in rows}
    assert set(found) == {
        ("liteengine", "w8a8"), ("cmsis_nn", "w8a8"), ("cmix_nn", "w8a8"), ("tinyengine", "w8a8"),
        ("liteengine", "w4a4"), ("cmix_nn", "w4a4"),
    }  # fmt: skip
    for row in rows:
        assert row["bit_exact"] is True
        assert row["n_images"] == 100
        assert row["float_accuracy"] > 0.9
        assert row["accuracy"] > 0.5
        assert row["origin"] in ("post-training", "quantization-aware")
    # The same integers, so the same score; CMix-NN's speed is that of its faster policy.
    assert found["cmix_nn", "w4a4"]["accuracy"] == found["liteengine", "w4a4"]["accuracy"]
    assert found["liteengine", "w4a4"]["ratio_cmix_nn"] == pytest.approx(
        min(found["cmix_nn", policy]["cycles"] for policy in ("w4a4", "w8a8"))
        / found["liteengine", "w4a4"]["cycles"]
    )


@pytest.mark.slow
def test_export_compiles_for_a_host_and_for_any_cortex_m4(tmp_path):
    folder = tmp_path / "net"
    done = run("export", "--model", "resnet8", "--policy", "w4a4", str(folder))
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in folder.iterdir()} == {"model.c", "model.h", "README.md"}
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-c", "model.c", "-o", "model.o"]
    for compiler in (["gcc"], ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb"]):
        assert shutil.which(compiler[0]), f"{compiler[0]} is missing; run .ci/toolchain.sh"
        subprocess.run([*compiler, *flags], cwd=folder, check=True)


def test_doctor():
    checks = {check["check"]: check for check in result_of("doctor")}
    assert all(check.keys() == {"check", "ok", "detail", "fix"} for check in checks.values())
    assert checks["toolchain"]["ok"]
    assert checks["simulated board"]["ok"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("measure", "--policy", "w9a9"), "Bit-width 9"),
        (("measure", "--policy", "w4a4,w4a4"), "names 2 layers"),
        (("measure", "--board", "nucleo_zz"), "There is no board 'nucleo_zz'"),
        (("measure", "--model", "alexnet"), "alexnet"),
        (("measure", "--engine", "tvm"), "There is no engine 'tvm'"),
        (("measure", "--engine", "cmsis_nn", "--policy", "w4a4"), "w8a8"),
        (("measure", "--data", "/nowhere"), "/nowhere"),
        (("bench", "layers", "--layer", "c3"), "'c3' is no layer"),
        (("search", "--method", "guessing"), "guessing"),
        (("search", "--accuracy-drop", "0"), "must be a share"),
        (("search", "--resume", "no-such-run"), "no-such-run"),
        (("report", "no-such-run"), "no-such-run"),
        (("measure", "--probe", "no-such-probe"), "no-such-probe"),
    ],
)
def test_a_users_mistake_ends_with_2_and_says_what_to_do(arguments, message):
    done = run(*arguments)
    assert done.exit_code in (1, 2)
    assert done.exit_code == 2 or "probe" in message
    assert done.stdout == ""
    assert message in done.stderr


def test_help_lists_every_command_and_imports_none():
    code = "import sys; from mcuq_lab.cli.main import app; app(['--help'], standalone_mode=False); "
    code += "print(sorted({'torch', 'ray', 'pandas', 'pyocd'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *text, imported = done.stdout.splitlines()
    assert imported == "[]"
    for name in COMMANDS:
        assert any(name in line.split() for line in text)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_tells_a_command_as_its_own_help_does(name):
    own = typer.main.get_command(import_module(f"mcuq_lab.cli.{name}").app)
    assert COMMANDS[name] == own.help.split("\n\n")[0].replace("\n", " ")
