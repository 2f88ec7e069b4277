"""The same board through DP and AP registers, and the registers themselves."""

import os

import pytest
from pyocd.core import exceptions
from pyocd.core.target import Target
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import board_ids, load_chip
from mcuq_lab.nucleosim.debug_port import DebugPort, StickyError

CSW_WORDS_INCREMENT = 0x23000052
CSW, TAR, DRW = 0x0, 0x4, 0xC


@pytest.mark.parametrize("board", board_ids())
def test_session_and_flash(new_bench, build_image, board):
    bench = new_bench(board=board, nucleosim__raw_dap=True)
    assert bench.target.selected_core.ap._accelerated_memory_interface is None
    data = os.urandom(10_000)
    FlashLoader.program_binary_data(bench.session, 0x08000000, data)
    assert bytes(bench.target.read_memory_block8(0x08000000, len(data))) == data
    image = build_image("volatile uint32_t out; int main(void) { out = 99; return 0; }", board)
    bench.flash(image)
    assert bench.run() is Target.State.HALTED
    assert bench.read("out") == [99]


def test_odd_addresses_and_sizes(new_bench):
    fast, raw = new_bench(), new_bench(nucleosim__raw_dap=True)
    for bench in (fast, raw):
        target = bench.target
        target.write_memory_block8(0x20000003, list(range(1, 12)))
        target.write16(0x20000010, 0xBEEF)
        target.write8(0x20000013, 0x5A)
        assert target.read8(0x20000005) == 3
        assert target.read16(0x20000006) == 0x0504
        assert target.read32(0x20000010) >> 24 == 0x5A
    size = 0x14
    assert fast.target.read_memory_block8(0x20000003, size) == raw.target.read_memory_block8(
        0x20000003, size
    )


def test_long_blocks_cross_the_increment_boundary(new_bench):
    target = new_bench(nucleosim__raw_dap=True).target
    words = list(range(3000))
    target.write_memory_block32(0x20000F00, words)
    assert list(target.read_memory_block32(0x20000F00, len(words))) == words


@pytest.mark.parametrize("raw", [False, True])
def test_bus_error_is_reported_and_cleared(new_bench, raw):
    target = new_bench(nucleosim__raw_dap=raw).target
    for access in (lambda: target.read32(0x60000000), lambda: target.write32(0x60000000, 1)):
        with pytest.raises(exceptions.TransferFaultError):
            access()
        assert target.read32(0xE000ED00) == 0x410FC241


@pytest.fixture
def port():
    port = DebugPort(SimulatedBoard(load_chip("nucleo-f412zg")))
    port.write_dp(0x4, 0x50000000)
    port.write_ap(CSW, CSW_WORDS_INCREMENT)
    return port


def test_power_up_is_acknowledged(port):
    assert port.read_dp(0x4) >> 28 == 0xF
    port.write_dp(0x4, 0)
    assert port.read_dp(0x4) >> 28 == 0


def test_sticky_error_blocks_until_cleared(port):
    port.write_ap(TAR, 0x60000000)
    with pytest.raises(StickyError):
        port.read_ap(DRW)
    assert port.read_dp(0x4) & 1 << 5
    with pytest.raises(StickyError):
        port.read_ap(CSW)
    port.write_dp(0x0, 1 << 2)
    assert port.read_ap(CSW) & 0x7 == 2


def test_address_increments_and_wraps(port):
    port.write_ap(TAR, 0x20000FF8)
    for word in (1, 2, 3):
        port.write_ap(DRW, word)
    assert port.read_ap(TAR) == 0x20000004
    port.write_ap(TAR, 0x20000FF8)
    assert [port.read_ap(DRW), port.read_ap(DRW)] == [1, 2]


def test_there_is_one_access_port(port):
    port.write_dp(0x8, 0xF0)
    assert port.read_ap(0xC) == 0x24770011
    assert port.read_ap(0x8) & ~0xFFF == 0xE00FF000
    port.write_dp(0x8, 1 << 24 | 0xF0)
    assert port.read_ap(0xC) == 0
