"""Board files: what is read, and what is refused."""

import pytest

from mcuq_lab.board import BOARDS_DIR, board_ids, load_board
from mcuq_lab.errors import ConfigError


@pytest.mark.parametrize("board_id", board_ids())
def test_every_board_file_is_valid(board_id):
    board = load_board(board_id)
    assert board.clock("reset").writes == ()
    for clock in board.clocks:
        for write in clock.writes:
            assert write.value & ~write.mask == 0, write
            assert write.wait_value & ~write.wait_mask == 0, write


def test_the_default_is_the_f412zg():
    board = load_board()
    assert (board.pyocd_target, board.board_id) == ("stm32f412xg", "0826")
    assert board.clock("max").sysclk_hz == 100_000_000


def test_unknown_board_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"known boards: .*nucleo_f412zg"):
        load_board("nucleo_z999")


def test_unknown_clock_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"reset, max"):
        load_board().clock("turbo")


@pytest.mark.parametrize("edit", ['colour = "white"\n', 'core = "cortex-m99"\n'])
def test_unknown_or_wrong_entries_are_refused(tmp_path, edit):
    text = (BOARDS_DIR / "nucleo_f412zg" / "board.toml").read_text()
    key = edit.split(" ")[0]
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(key + " ")]
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "board.toml").write_text(edit + "".join(lines))
    with pytest.raises(ConfigError, match=key):
        load_board("mine", tmp_path)
