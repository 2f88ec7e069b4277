"""The tuning table on disk: parts of many writers, one setting a folder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from mcuq_lab import tuning
from mcuq_lab.bench import BuildFlags, Toolchain, open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import LayerBits
from mcuq_lab.quantize import random_inputs
from mcuq_lab.tuning import tuning_table
from tests.support.simulated_core import has_toolchain

BOARD = load_board("nucleo_f412zg")
GCC = Toolchain("gcc", "12.2.1", "gcc 12.2.1", "arm-none-eabi")


@pytest.fixture
def session():
    return SimpleNamespace(board=BOARD, clock=BOARD.clock("reset"), timing_model="m4 2")


def test_parts_of_several_writers_are_one_table(session, tmp_path):
    first, second = (tuning_table(session, GCC, root=tmp_path) for _ in range(2))
    assert first.read() == {}
    first.add({"a": 1, "b": 2})
    second.add({"c": 3})
    assert first.read() == second.read() == {"a": 1, "b": 2, "c": 3}


def test_a_broken_part_is_left_out(session, tmp_path, caplog):
    table = tuning_table(session, GCC, root=tmp_path)
    table.add({"a": 1})
    (table.directory / "broken.json").write_text('{"cycles": {"b"')
    assert table.read() == {"a": 1}
    assert "broken.json" in caplog.text


def test_every_part_of_the_setting_has_a_table_of_its_own(session, tmp_path):
    settings = [
        (session, GCC, None),
        (SimpleNamespace(**vars(session) | {"timing_model": ""}), GCC, None),
        (SimpleNamespace(**vars(session) | {"clock": BOARD.clock("max")}), GCC, None),
        (SimpleNamespace(**vars(session) | {"board": load_board("nucleo_f767zi")}), GCC, None),
        (session, replace(GCC, banner="gcc 13.1"), None),
        (session, GCC, BuildFlags(optimize=("-Os",))),
    ]
    tables = [tuning_table(*setting, root=tmp_path) for setting in settings]
    assert len({table.directory for table in tables}) == len(settings)
    tables[0].add({"a": 1})
    assert all(table.read() == {} for table in tables[1:])


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
def test_what_is_measured_decides_what_is_built(tmp_path, monkeypatch):
    """A second time there is nothing to measure, however often tuning was interrupted before."""
    monkeypatch.setattr(tuning, "tables_directory", lambda: tmp_path)
    network = layer_network("c3_8x8_8", LayerBits(4, 4))
    inputs = random_inputs(network, 1)
    engine = engine_named("liteengine")
    with open_board(BOARD, simulated=True) as session:
        table = tuning_table(session)
        assert measure_network(network, engine, session, inputs).schedule == "predicted"
        steps = list(tuning.tune_on_board(network, session))
        assert sum(1 for _ in tuning.tune_on_board(network, session)) == 0
        measurement = measure_network(network, engine, session, inputs)
    assert steps[-1].left == 0
    assert steps[-1].measured == len(table.read())
    assert measurement.schedule == "tuned"
    assert measurement.bit_exact
    known = [
        cycles
        for key, cycles in table.read().items()
        if key.startswith(f"{measurement.layers[0].kernel}|")
    ]
    assert measurement.run.layer_cycles[0] == pytest.approx(min(known), rel=0.02)
