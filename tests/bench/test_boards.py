"""Every board at each of its clocks: the clock table leads where it says, and outputs are right."""

import dataclasses
from itertools import count

import numpy as np
import pytest
from pyocd.board.board_ids import BOARD_ID_TO_INFO

from mcuq_lab import nucleosim
from mcuq_lab.bench.core import reset_and_halt, run_until_halt
from mcuq_lab.bench.firmware import build
from mcuq_lab.bench.memory_map import memory_map
from mcuq_lab.bench.probe import open_session
from mcuq_lab.bench.session import open_board
from mcuq_lab.board import board_ids, load_board
from mcuq_lab.errors import BoardError
from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.registry import board_kind

CLOCKS = [(board, clock.name) for board in board_ids() for clock in load_board(board).clocks]
_numbers = count(1)


@pytest.fixture
def uid_of():
    """A new simulated board of the same kind, thrown away after the test."""
    uids = []

    def make(board):
        uids.append(f"{board.simulated_uid}:clocks{next(_numbers)}")
        return uids[-1]

    yield make
    for uid in uids:
        nucleosim.discard_board(uid)


def without_step(board, text):
    """The board, whose fast clock lacks the one step that says `text`."""
    clock = board.clock("max")
    writes = tuple(write for write in clock.writes if text not in write.comment)
    assert len(writes) == len(clock.writes) - 1
    fast = dataclasses.replace(clock, writes=writes)
    return dataclasses.replace(board, clocks=(fast, board.clock("reset")))


def runs_at_the_fast_clock(board, uid):
    """Whether the core gets to a breakpoint instruction in RAM."""
    with open_session(board, uid) as session:
        reset_and_halt(session.target, board.clock("max"))
        start = memory_map(board).ram.start
        session.target.write16(start, 0xBE00)
        session.target.write_core_register("xpsr", 0x01000000)
        session.target.write_core_register("pc", start)
        return run_until_halt(session.target, timeout_s=0.2).halted


def test_polls_of_a_simulated_board_follow_each_other_at_once(uid_of, monkeypatch):
    def no_sleep(seconds):
        raise AssertionError(f"slept {seconds} s between two polls")

    board = load_board("nucleo_f412zg")
    with open_session(board, uid_of(board)) as session:
        reset_and_halt(session.target, board.clock("reset"))
        start = memory_map(board).ram.start
        session.target.write16(start, 0xE7FE)  # b .
        session.target.write_core_register("pc", start)
        monkeypatch.setattr("mcuq_lab.bench.core.time.sleep", no_sleep)
        assert not run_until_halt(session.target, timeout_s=0.1).halted


@pytest.mark.parametrize("board_id", board_ids())
def test_both_descriptions_of_a_board_agree(board_id):
    board = load_board(board_id)
    chip = load_chip(board_kind(board.simulated_uid))
    assert (board.name, board.board_id) == (chip.name, chip.board_id)
    assert (board.pyocd_target, board.core) == (chip.pyocd_target, chip.core.name)
    assert BOARD_ID_TO_INFO[board.board_id].name.startswith(board.name.split("/")[0])


@pytest.mark.parametrize(("board_id", "clock"), CLOCKS)
def test_outputs_equal_numpy_at_the_clock_that_is_named(tiny, uid_of, board_id, clock):
    board = load_board(board_id)
    uid = uid_of(board)
    with open_board(board, probe_uid=uid, clock=clock) as session:
        firmware = build(tiny.sources, board)
        output = session.run(firmware, tiny.inputs)
        np.testing.assert_array_equal(output.outputs, tiny.expected(tiny.inputs))
        bench = session.bench(firmware)
    simulated = nucleosim.simulated_board(uid)
    set_up = board.clock(clock)
    assert simulated.hclk_hz == bench.sysclk_hz == set_up.sysclk_hz
    assert simulated.flash_wait_states == bench.flash_wait_states == set_up.flash_wait_states


@pytest.mark.parametrize("board_id", board_ids())
def test_core_runs_at_the_fast_clock(uid_of, board_id):
    board = load_board(board_id)
    assert runs_at_the_fast_clock(board, uid_of(board))


@pytest.mark.parametrize(
    ("board_id", "step"),
    [
        ("nucleo_f412zg", "PWREN"),
        ("nucleo_f412zg", "PWR_CR.VOS"),
        ("nucleo_f412zg", "FLASH_ACR"),
        ("nucleo_f429zi", "FLASH_ACR"),
        ("nucleo_l432kc", "FLASH_ACR"),
        ("nucleo_f767zi", "FLASH_ACR"),
        ("nucleo_h743zi", "PWR_D3CR.VOS"),
        ("nucleo_h743zi", "RCC_APB4ENR"),
        ("nucleo_h743zi", "SYSCFG_PWRCR"),
        ("nucleo_h743zi", "RCC_D1CFGR"),
    ],
)
def test_core_hangs_without_voltage_or_wait_states(uid_of, board_id, step):
    board = load_board(board_id)
    assert not runs_at_the_fast_clock(without_step(board, step), uid_of(board))


@pytest.mark.parametrize(
    ("board_id", "step", "not_ready"),
    [
        ("nucleo_f412zg", "PLLON", "SWS"),
        ("nucleo_f429zi", "PWREN", "ODRDY"),
        ("nucleo_f429zi", "PWR_CR.ODEN", "ODRDY"),
        ("nucleo_f429zi", "PWR_CR.ODSWEN", "ODSWRDY"),
        ("nucleo_f429zi", "PLLON", "SWS"),
        ("nucleo_l432kc", "RCC_PLLCFGR", "PLLRDY"),
        ("nucleo_l432kc", "PLLON", "SWS"),
        ("nucleo_f767zi", "PWREN", "ODRDY"),
        ("nucleo_f767zi", "PWR_CR1.ODEN", "ODRDY"),
        ("nucleo_f767zi", "PWR_CR1.ODSWEN", "ODSWRDY"),
        ("nucleo_f767zi", "PLLON", "SWS"),
        ("nucleo_h743zi", "PWR_CR3", "VOSRDY"),
        ("nucleo_h743zi", "RCC_PLLCKSELR", "PLL1RDY"),
        ("nucleo_h743zi", "RCC_PLLCFGR", "PLL1RDY"),
        ("nucleo_h743zi", "RCC_PLL1DIVR", "PLL1RDY"),
        ("nucleo_h743zi", "PLL1ON", "SWS"),
    ],
)
def test_what_lacks_a_step_never_gets_ready(uid_of, board_id, step, not_ready, monkeypatch):
    monkeypatch.setattr("mcuq_lab.bench.core._READY_TIMEOUT_S", 0.05)
    board = load_board(board_id)
    with pytest.raises(BoardError, match=rf"Clock 'max'.*not ready.*{not_ready}"):
        runs_at_the_fast_clock(without_step(board, step), uid_of(board))
