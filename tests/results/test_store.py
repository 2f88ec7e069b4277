"""The store: what is written comes back, whole or not at all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.measurement import Bench, ImageSizes, Measurement, RunOutput
from mcuq_lab.results import (
    Row,
    append_rows,
    create_run,
    measured_columns,
    read_frame,
    read_frames,
    read_rows,
    read_run_info,
    write_atomically,
)
from mcuq_lab.sources import LayerInfo

ROW = Row(
    evaluation=0,
    model="net",
    data="digits",
    board="nucleo_f412zg",
    engine="liteengine",
    policy=((4, 8), (2, 2)),
    origin="anchor",
    status="ok",
    simulated=True,
    cycles_min=99,
    cycles_median=100,
    cycles_max=101,
    sysclk_hz=16_000_000,
    flash_wait_states=0,
    sram_peak_bytes=1000,
    flash_total_bytes=5000,
    accuracy_quick=0.75,
    n_images=10,
    bit_exact=True,
    elf_sha256="ab",
    layer_names=("a", "b"),
    layer_cycles=(40, 50),
    seconds={"build": 1.5, "run": 0.25},
    elapsed_s=2.0,
)
FAULT = replace(
    ROW, evaluation=1, status="fault", message="HardFault in b", cycles_median=None,
    accuracy_quick=None, layer_names=(), layer_cycles=(), seconds={},
)  # fmt: skip


@pytest.fixture
def run_dir(tmp_path):
    return create_run(
        kind="search", model="net", data="digits", board="nucleo_f412zg", method="random", seed=3,
        config={"evaluations": 5}, root=tmp_path,
    )  # fmt: skip


def test_rows_come_back_as_written_failures_included(run_dir):
    append_rows(run_dir, [ROW])
    append_rows(run_dir, [FAULT])
    assert read_rows(run_dir) == [ROW, FAULT]


def test_frame_keeps_policies_as_tuples_and_failures_as_nulls(run_dir):
    append_rows(run_dir, [ROW, FAULT])
    frame = read_frame(run_dir)
    assert list(frame["policy"]) == [((4, 8), (2, 2))] * 2
    assert frame["cycles_median"].isna().tolist() == [False, True]
    assert frame["seconds_build"][0] == 1.5


def test_frame_of_an_empty_run_has_the_columns(run_dir):
    frame = read_frame(run_dir)
    assert frame.empty
    assert {"policy", "cycles_median", "seconds_run", "schema_version"} <= set(frame.columns)


def test_frames_of_several_runs_say_which_run(run_dir, tmp_path):
    append_rows(run_dir, [ROW])
    frame = read_frames([run_dir, run_dir])
    assert list(frame["method"]) == ["random", "random"]
    assert list(frame["seed"]) == [3, 3]
    assert set(frame["run"]) == {run_dir.name}


def test_parts_are_plain_parquet_for_other_tools(run_dir):
    path = append_rows(run_dir, [ROW])
    frame = pd.read_parquet(path)
    assert frame["cycles_median"][0] == 100
    assert dict(frame["policy"][0][0]) == {"w_bits": 4, "a_bits": 8}


def test_appending_never_touches_earlier_parts(run_dir):
    first = append_rows(run_dir, [ROW])
    before = first.read_bytes(), first.stat().st_mtime_ns
    second = append_rows(run_dir, [FAULT])
    assert second != first
    assert (first.read_bytes(), first.stat().st_mtime_ns) == before


def test_run_directory_is_named_after_date_model_board_and_method(run_dir):
    assert "-net-nucleo_f412zg-random-" in run_dir.name
    info = read_run_info(run_dir)
    assert info.created_utc.replace("-", "")[:8] == run_dir.name[:8]
    assert info.config == {"evaluations": 5}
    assert info.seed == 3
    assert info.git_dirty in (True, False, None)
    assert info.packages["numpy"] == np.__version__


def test_damaged_part_is_named(run_dir):
    append_rows(run_dir, [ROW])
    bad = append_rows(run_dir, [ROW])
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(ConfigError, match=bad.name):
        read_rows(run_dir)
    with pytest.raises(ConfigError, match=bad.name):
        read_frame(run_dir)


def test_damaged_run_json_is_named_and_a_directory_without_one_is_no_run(run_dir, tmp_path):
    (run_dir / "run.json").write_text("{")
    with pytest.raises(ConfigError, match=r"run\.json"):
        read_run_info(run_dir)
    with pytest.raises(ConfigError, match="not a run"):
        read_run_info(tmp_path)


def test_half_written_file_is_invisible(run_dir, monkeypatch):
    append_rows(run_dir, [ROW])

    def no_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", no_disk)
    with pytest.raises(OSError, match="no space"):
        append_rows(run_dir, [FAULT])
    assert read_rows(run_dir) == [ROW]


def test_a_reader_sees_whole_rows_while_a_writer_is_killed(run_dir):
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_store import ROW; from mcuq_lab.results import append_rows\n"
        "while True: append_rows(Path(sys.argv[1]), [ROW])\n"
    )
    command = [sys.executable, "-c", script, str(run_dir), os.path.dirname(__file__)]
    writer = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while len(read_rows(run_dir)) < 20 and time.monotonic() < deadline:
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    rows = read_rows(run_dir)
    assert len(rows) >= 20
    assert set(map(str, rows)) == {str(ROW)}


def test_write_atomically_replaces_the_whole_file(tmp_path):
    path = tmp_path / "state.json"
    write_atomically(path, b"long first content")
    write_atomically(path, json.dumps({"n": 1}).encode())
    assert json.loads(path.read_text()) == {"n": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_unknown_status_or_phase_is_refused():
    with pytest.raises(ConfigError, match="status"):
        replace(ROW, status="fine")
    with pytest.raises(ConfigError, match="phase"):
        replace(ROW, seconds={"lunch": 1.0})


def test_measurement_fills_the_columns():
    layers = tuple(LayerInfo(n, "Conv2d", "w4a4", "k", "", 10, 20, 0) for n in ("a", "b"))
    measurement = Measurement(
        model="net",
        data="digits",
        policy="w4a4",
        engine="liteengine",
        bench=Bench("nucleo_f412zg", True, "uid", 16_000_000, 0, "gcc", "-O3", "m4 1"),
        layers=layers,
        sizes=ImageSizes(3000, 2000, 5000, 100, 800),
        run=RunOutput(np.zeros((3, 10), np.uint8), np.array([90, 100, 130]), (40, 50), 700, 60),
        scratch_bytes=200,
        bit_exact=True,
        elf_sha256="cd",
        seconds={"build": 1.0, "something_else": 2.0},
    )
    columns = measured_columns(measurement)
    row = Row(evaluation=0, policy=((4, 4), (4, 4)), origin="anchor", **columns)
    assert (row.cycles_min, row.cycles_median, row.cycles_max) == (90, 100, 130)
    assert row.sram_peak_bytes == 100 + 800 + 60
    assert row.flash_total_bytes == 5000
    assert row.layer_names == ("a", "b")
    assert row.layer_cycles == (40, 50)
    assert row.seconds == {"build": 1.0}
