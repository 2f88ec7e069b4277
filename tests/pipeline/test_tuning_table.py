"""The tuning table on disk: parts of many writers, one setting a folder."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from mcuq_lab.bench import BuildFlags, Toolchain
from mcuq_lab.board import load_board
from mcuq_lab.tuning import tuning_table

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
