"""Flash of every board under pyOCD's own algorithm."""

import os
from itertools import accumulate

import pytest
from pyocd.core import exceptions
from pyocd.core.memory_map import FlashRegion
from pyocd.flash.eraser import FlashEraser
from pyocd.flash.loader import FlashLoader
from pyocd.target import TARGET

from mcuq_lab.nucleosim import Faults
from mcuq_lab.nucleosim.chip import board_ids, load_chip

START = 0x08000000
# pyOCD's algorithm for the STM32H743 erases more, and looks for no errors: see test_flash_h7.py.
CAREFUL_BOARDS = [board for board in board_ids() if board != "nucleo-h743zi"]
SOURCE = "volatile uint32_t out; int main(void) {{ out = {}; return 0; }}"


@pytest.mark.parametrize("board", board_ids())
def test_memory_map_is_pyocds(board):
    chip = load_chip(board)
    memory_map = TARGET[chip.pyocd_target].MEMORY_MAP
    starts = [chip.flash.start]
    for size in chip.flash.sector_bytes:
        starts.append(starts[-1] + size)
    flashes = [region for region in memory_map if isinstance(region, FlashRegion)]
    expected = []
    for region in flashes:
        expected += range(region.start, region.end + 1, region.sector_size)
    assert starts[:-1] == expected
    rams = {(region.start, region.length) for region in memory_map if region.is_ram}
    assert rams <= {(ram.start, ram.size_bytes) for ram in chip.rams} | set(merged(chip.rams))


def merged(rams):
    """Start and size of memories that lie side by side, as one; pyOCD has the F767's so."""
    starts = {ram.start: ram.size_bytes for ram in rams}
    for start in sorted(starts, reverse=True):
        starts[start] += starts.get(start + starts[start], 0)
    return starts.items()


def sector_start(bench, number):
    return START + sum(bench.board.chip.flash.sector_bytes[:number])


def test_pyocd_programs_and_reads_back(bench):
    data = os.urandom(70_001)
    FlashLoader.program_binary_data(bench.session, START + 0x4000, data)
    assert bytes(bench.target.read_memory_block8(START + 0x4000, len(data))) == data
    assert bench.target.read8(START + 0x4000 + len(data)) == 0xFF
    erased = bench.board.flash_erase_count
    assert erased == 4  # the sectors at 0x4000, 0x8000, 0xC000, and the one of 64 KB
    FlashLoader.program_binary_data(bench.session, START + 0x4000, data)
    assert bench.board.flash_erase_count == erased


@pytest.mark.parametrize("any_bench", CAREFUL_BOARDS, indirect=True)
def test_pyocd_erases_no_more_than_it_must(any_bench):
    data = os.urandom(70_001)
    start = sector_start(any_bench, 1)
    FlashLoader.program_binary_data(any_bench.session, start, data)
    assert bytes(any_bench.target.read_memory_block8(start, len(data))) == data
    assert any_bench.target.read8(start + len(data)) == 0xFF
    starts = accumulate(any_bench.board.chip.flash.sector_bytes, initial=START)
    touched = sum(start <= at < start + len(data) for at in starts)
    assert any_bench.board.flash_erase_count == touched
    FlashLoader.program_binary_data(any_bench.session, start, data)
    assert any_bench.board.flash_erase_count == touched


def test_last_bytes_of_flash(any_bench):
    data = os.urandom(100)
    flash = any_bench.board.chip.flash
    start = START + flash.size_bytes - len(data)
    FlashLoader.program_binary_data(any_bench.session, start, data)
    assert any_bench.board.flash_image()[-len(data) :] == data
    if flash.alias is not None:
        alias = flash.alias + flash.size_bytes - len(data)
        assert bytes(any_bench.target.read_memory_block8(alias, len(data))) == data


@pytest.mark.parametrize("any_bench", CAREFUL_BOARDS, indirect=True)
def test_sector_erase_by_pyocd_leaves_the_neighbours(any_bench):
    last = len(any_bench.board.chip.flash.sector_bytes) - 1
    victim = last // 2 + 1  # the first of the second bank, if there is one
    starts = [sector_start(any_bench, number) for number in (victim - 1, victim, victim + 1)]
    for start in starts:
        FlashLoader.program_binary_data(any_bench.session, start, b"something " * 4)
    FlashEraser(any_bench.session, FlashEraser.Mode.SECTOR).erase([starts[1]])
    held = [bytes(any_bench.target.read_memory_block8(start, 4)) for start in starts]
    assert held == [b"some", b"\xff\xff\xff\xff", b"some"]


def test_chip_erase(any_bench):
    flash = any_bench.board.chip.flash
    for start in (START, START + flash.size_bytes - 16):
        FlashLoader.program_binary_data(any_bench.session, start, b"not for long")
    FlashEraser(any_bench.session, FlashEraser.Mode.CHIP).erase()
    assert set(any_bench.board.flash_image()) == {0xFF}


def test_worn_out_flash_fails_to_verify(any_bench):
    any_bench.board.inject(Faults(stuck_flash_address=START + 0x1234))
    data = bytes(0x2000)
    FlashLoader.program_binary_data(any_bench.session, START, data)
    read_back = bytes(any_bench.target.read_memory_block8(START, len(data)))
    assert [at for at in range(len(data)) if read_back[at] != data[at]] == [0x1234]


@pytest.mark.parametrize("any_bench", CAREFUL_BOARDS, indirect=True)
def test_operation_that_fails_is_an_error_of_pyocd(any_bench):
    any_bench.board.inject(Faults(flash_error_after=0))
    with pytest.raises(exceptions.FlashFailure):
        FlashLoader.program_binary_data(any_bench.session, START, bytes(100))
    assert set(any_bench.board.flash_image()) == {0xFF}


def test_reprogrammed_code_runs(any_bench, build_image):
    for value in (1, 2, 3):
        any_bench.flash(build_image(SOURCE.format(value), any_bench.board.chip.id))
        any_bench.run()
        assert any_bench.read("out") == [value]


def test_debugger_cannot_write_flash_directly(any_bench):
    any_bench.target.write32(START, 0x12345678)
    assert any_bench.target.read32(START) == 0xFFFFFFFF
    with pytest.raises(exceptions.TransferFaultError):
        any_bench.target.read32(0x60000000)
