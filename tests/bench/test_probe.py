"""Exactly one probe is chosen, or the message says why not."""

import dataclasses
import multiprocessing

import pytest

from mcuq_lab.bench import flash, probe
from mcuq_lab.bench.probe import ProbeInfo, choose_uid, find_probes
from mcuq_lab.bench.session import open_board
from mcuq_lab.board import board_ids, load_board
from mcuq_lab.errors import BoardError, ConfigError

BOARD = load_board("nucleo_f412zg")
MINE = ProbeInfo("066AFF1", "STMicroelectronics ST-LINK/V2-1", "stm32f412xg", False)
OTHER_KIND = ProbeInfo("066AFF2", "STMicroelectronics ST-LINK/V2-1", "stm32l432kc", False)
UNKNOWN = ProbeInfo("E661", "Raspberry Pi Debugprobe", "", False)
SIMULATED = ProbeInfo("sim:nucleo-f412zg", "Simulated", "stm32f412xg", True)


def test_a_real_probe_comes_first():
    assert choose_uid(BOARD, None, None, [SIMULATED, MINE]) == MINE.uid
    assert choose_uid(BOARD, None, False, [SIMULATED, MINE, OTHER_KIND]) == MINE.uid
    assert choose_uid(BOARD, None, None, [UNKNOWN]) == UNKNOWN.uid


def test_a_real_probe_is_known_by_its_board_id():
    # pyOCD's entry for board id 0770 names a target that comes as a CMSIS pack.
    probe = dataclasses.replace(OTHER_KIND, pyocd_target="stm32l432kcux")
    assert choose_uid(load_board("nucleo_l432kc"), None, False, [MINE, probe]) == probe.uid
    assert choose_uid(BOARD, None, False, [MINE, probe]) == MINE.uid


def test_without_a_real_one_the_simulated_one_is_taken():
    assert choose_uid(BOARD, None, None, [SIMULATED]) == BOARD.simulated_uid
    assert choose_uid(BOARD, None, None, [OTHER_KIND]) == BOARD.simulated_uid
    assert choose_uid(BOARD, None, True, [MINE]) == BOARD.simulated_uid


def test_two_that_match_are_listed():
    second = dataclasses.replace(MINE, uid="066AFF9")
    with pytest.raises(BoardError, match=r"2 probes may belong to a NUCLEO-F412ZG.*AFF1.*AFF9"):
        choose_uid(BOARD, None, None, [MINE, second])
    with pytest.raises(BoardError, match=r"2 probes match '066a'.*AFF1.*AFF2"):
        choose_uid(BOARD, "066a", None, [MINE, OTHER_KIND])


def test_a_part_of_an_id_is_enough_and_a_whole_one_wins():
    longer = dataclasses.replace(MINE, uid=MINE.uid + "0")
    assert choose_uid(BOARD, "aff2", None, [MINE, OTHER_KIND]) == OTHER_KIND.uid
    assert choose_uid(BOARD, MINE.uid, None, [MINE, longer]) == MINE.uid


def test_none_is_said_with_those_that_exist():
    with pytest.raises(BoardError, match=r"No probe of a NUCLEO-F412ZG.*066AFF2"):
        choose_uid(BOARD, None, False, [OTHER_KIND])
    with pytest.raises(BoardError, match=r"matches 'abc'.*no real ones"):
        choose_uid(BOARD, "abc", None, [SIMULATED])


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match="simulated"):
        choose_uid(BOARD, "sim:nucleo-f412zg:1", False, [])
    with pytest.raises(ConfigError, match="no simulated one"):
        choose_uid(BOARD, MINE.uid, True, [MINE])


@pytest.mark.parametrize("board_id", board_ids())
def test_every_simulated_board_is_found_with_its_target(board_id):
    board = load_board(board_id)
    found = {info.uid: info for info in find_probes()}
    assert found[board.simulated_uid].pyocd_target == board.pyocd_target


def test_the_simulated_board_is_found_as_any_probe():
    found = {info.uid: info for info in find_probes()}
    assert found["sim:nucleo-f412zg"].pyocd_target == "stm32f412xg"
    assert found["sim:nucleo-f412zg"].simulated


def test_an_unknown_simulated_board_does_not_answer():
    with pytest.raises(BoardError, match="does not answer"), open_board(BOARD, "sim:nucleo-x1"):
        pass


def hold(uid, directory, ready, done):
    probe.platformdirs.user_runtime_path = lambda *_, **__: directory
    with probe._alone(uid):
        ready.set()
        done.wait(30)


def test_a_real_probe_is_locked_against_other_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(probe.platformdirs, "user_runtime_path", lambda *_, **__: tmp_path)
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=("066AFF1", tmp_path, ready, done))
    other.start()
    assert ready.wait(30)
    with pytest.raises(BoardError, match="066AFF1 is in use"), probe._alone("066AFF1"):
        pass
    with probe._alone("066AFF2"):
        pass
    done.set()
    other.join(30)
    with probe._alone("066AFF1"):
        pass


def test_erase_cycles_are_counted_by_board(tmp_path):
    assert flash.erase_count("a", tmp_path) == 0
    assert flash.add_to_erase_count("a", 3, tmp_path) == 3
    assert flash.add_to_erase_count("a", 2, tmp_path) == 5
    assert flash.erase_count("b", tmp_path) == 0
