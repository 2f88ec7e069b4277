"""Boards with a Cortex-M7: the start-up code switches the caches on, and leaves nothing in them."""

import numpy as np
import pytest

from mcuq_lab import nucleosim
from mcuq_lab.bench.firmware import build
from mcuq_lab.bench.flash import program
from mcuq_lab.bench.image import Segment
from mcuq_lab.bench.probe import open_session
from mcuq_lab.bench.session import open_board
from mcuq_lab.bench.toolchain import BuildFlags
from mcuq_lab.board import board_ids, load_board

BOARDS = [load_board(board) for board in board_ids() if load_board(board).core == "cortex-m7"]
FASTEST_HZ = {"nucleo_f767zi": 216_000_000, "nucleo_h743zi": 480_000_000}

pytestmark = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.id)


def test_fastest_clock(board):
    assert max(clock.sysclk_hz for clock in board.clocks) == FASTEST_HZ[board.id]


def test_flags_name_core_fpu_and_caches(board):
    text = BuildFlags().text(board)
    assert "-mcpu=cortex-m7" in text
    assert "-mfpu=fpv5-d16" in text
    assert "-DMCUQ_CACHES" in text
    assert "MCUQ_CACHES" not in BuildFlags().text(load_board("nucleo_f412zg"))


def test_caches_are_on_while_the_network_runs(board, tiny):
    uid = f"{board.simulated_uid}:caches"
    with open_board(board, probe_uid=uid) as session:
        session.run(build(tiny.sources, board), tiny.inputs[:1])
        assert session.timing_model.startswith("cortex-m7")
        simulated = nucleosim.simulated_board(uid)
        assert simulated.instruction_cache_on
        assert simulated.data_cache_on
    nucleosim.discard_board(uid)


def test_a_change_in_the_first_sector_leaves_the_others_right(board):
    """pyOCD's algorithm for the H743 erases the next sector too: see tests/nucleosim."""
    uid = f"{board.simulated_uid}:sectors"
    data = np.random.default_rng(0).integers(0, 256, 0x24000, np.uint8)
    with open_session(board, uid) as session:
        for _ in range(2):
            program(session, [Segment(0x08000000, data.tobytes())])
            held = session.target.read_memory_block8(0x08000000, len(data))
            np.testing.assert_array_equal(held, data)
            data[5] ^= 0xFF
    nucleosim.discard_board(uid)


def test_data_cache_is_emptied_before_each_stop(board, tiny):
    """A debugger reads and writes memory, not the cache: the image must say so to the cache."""
    image = build(tiny.sources, board).image
    code = b"".join(segment.data for segment in image.segments)
    assert (0xE000EF74).to_bytes(4, "little") in code  # DCCISW, in a literal pool
    stop = image.symbols["mcuq_stopped"].address & ~1
    start = image.segments[0].address
    before = code[stop - start - 4 : stop - start]
    first, second = (int.from_bytes(before[at : at + 2], "little") for at in (0, 2))
    assert (first & 0xF800, second & 0xD000) == (0xF000, 0xD000)  # BL
