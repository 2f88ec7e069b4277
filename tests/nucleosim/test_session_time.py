"""The account of what a session would have taken: each figure against its source."""

import pytest
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim import Faults, swd_times
from mcuq_lab.nucleosim.chip import board_ids, load_chip
from mcuq_lab.nucleosim.flash_times import FLASH_TIMES
from mcuq_lab.nucleosim.session_time import SessionTime

FLASH = 0x08000000


def test_probe_clock_is_a_step_of_the_st_link(new_bench):
    for asked_hz, set_hz in ((4_000_000, 1_800_000), (10_000_000, 4_600_000), (50_000, 100_000)):
        bench = new_bench(frequency=asked_hz)
        assert bench.board.swd.frequency_hz == set_hz
    bench = new_bench(frequency=4_600_000, nucleosim__swd_hz=1_000_000)
    assert bench.board.swd.frequency_hz == 950_000


def test_block_reads_meet_the_published_speed():
    # 1 MB at 1.8 MHz in commands of 1 KB: 105.352 KiB/s with an ST-LINK/V2 (V2J39S7) and OpenOCD.
    seconds = swd_times.memory_s(1_800_000, FLASH, 1 << 20, most_bytes=1024)
    assert 1024 / seconds == pytest.approx(105.352, rel=0.01)


def test_a_packet_more_costs_46_bits():
    def packets(words, hz):
        return swd_times.memory_s(hz, 0x20000000, 4 * words)

    slow, fast = 100_000, 1_000_000
    for words in (1, 2, 100):
        difference_s = packets(words, slow) - packets(words, fast)
        # CSW, TAR and RDBUFF beside the words.
        assert difference_s == pytest.approx((words + 3) * 46 * (1 / slow - 1 / fast))


def test_address_register_is_written_anew_at_each_kilobyte():
    hz = swd_times.STLINK_STEPS_HZ[0]
    inside = swd_times.memory_s(hz, 0x20000000, 1024)
    across = swd_times.memory_s(hz, 0x20000200, 1024)
    packet_s = 46 / hz + swd_times.FIRMWARE_S
    assert across - inside == pytest.approx(packet_s)


def test_odd_bytes_are_commands_of_their_own():
    hz = 1_800_000
    words = swd_times.memory_s(hz, 0x20000004, 8)
    odd = swd_times.memory_s(hz, 0x20000003, 10)  # a byte, two words, a byte
    assert odd - words > 4 * swd_times.COMMAND_S
    assert swd_times.memory_s(hz, 0x20000001, 1) == swd_times.memory_s(hz, 0x20000000, 4) - (
        3 / swd_times.USB_BYTES_PER_S
    )


def test_core_time_is_cycles_at_the_clock_that_is_set(bench, build_image):
    loop = "int main(void) { for (volatile int i = 0; i < 10000; i++) { } return 0; }"
    bench.flash(build_image(loop))
    before, cycles = bench.board.session_seconds, bench.board.cycles
    bench.run()
    ran = bench.board.cycles - cycles
    core_s = bench.board.session_seconds.core_s - before.core_s
    assert core_s == pytest.approx(ran / 16e6)
    assert bench.board.session_seconds.flash_s == before.flash_s
    assert bench.board.session_seconds.transfers_s > before.transfers_s


def test_a_core_that_runs_no_code_costs_nothing(bench):
    bench.target.reset()  # flash is blank: the core locks up
    cycles = bench.board.cycles
    for _ in range(3):
        bench.target.get_state()
    assert bench.board.cycles > cycles
    assert bench.board.session_seconds.core_s == 0


def test_flash_time_is_the_data_sheets(bench):
    data = bytes(range(1, 256)) * 256  # 65,280 bytes: no word of it is erased
    FlashLoader.program_binary_data(bench.session, FLASH, data)
    # Four sectors of 16 KB at 250 ms, 16,320 words at 16 us.
    assert bench.board.session_seconds.flash_s == pytest.approx(4 * 0.25 + 16_320 * 16e-6, rel=0.01)


def test_account_begins_with_the_session(new_bench):
    uid = "sim:nucleo-f412zg:account"
    bench = new_bench(uid=uid)
    FlashLoader.program_binary_data(bench.session, FLASH, bytes(1000))
    used = bench.board.session_seconds
    assert used.total_s == used.transfers_s + used.flash_s + used.core_s
    bench.session.close()
    again = new_bench(uid=uid).board.session_seconds
    assert again.flash_s == 0
    assert again.total_s < used.total_s


def test_the_account_repeats_exactly(new_bench):
    def session():
        bench = new_bench()
        FlashLoader.program_binary_data(bench.session, FLASH, bytes(range(200)) * 100)
        return bench.board.session_seconds

    assert session() == session()


def test_several_sectors_between_two_looks_count_their_mean():
    flash = load_chip("nucleo-f412zg").flash
    account = SessionTime(flash, cycles=0, instructions=0, erases=10, writes=0)
    account.note_flash(12, 0, (0xC000, 0x20000))  # the last one of 16 KB and the one of 64 KB
    assert account.flash_s == pytest.approx(0.25 + 0.55)
    account.note_flash(24, 3, (0, flash.size_bytes))
    assert account.flash_s == pytest.approx(0.25 + 0.55 + 4 * 0.25 + 0.55 + 7 * 1.0 + 3 * 16e-6)


@pytest.mark.parametrize("board", board_ids())
def test_each_flash_has_times_for_its_sectors(board):
    flash = load_chip(board).flash
    times = FLASH_TIMES[flash.controller]
    assert set(flash.sector_bytes) <= set(times.erase_s)


def test_real_time_sleeps_what_is_missing(new_bench, monkeypatch):
    slept, now = [], [0.0]

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    bench = new_bench(nucleosim__real_time=True)
    monkeypatch.setattr("mcuq_lab.nucleosim.probe.time.monotonic", lambda: now[0])
    monkeypatch.setattr("mcuq_lab.nucleosim.probe.time.sleep", sleep)
    bench.session.probe.open()
    bench.board.inject(Faults(slow_swd_hz=1000))
    bench.target.read_memory_block32(0x20000000, 100)
    total_s = bench.board.session_seconds.total_s
    assert total_s > 100 * 46 / 1000
    assert sum(slept) == pytest.approx(total_s)
    now[0] += 100.0  # the host was slow itself: nothing is left to wait for
    slept.clear()
    bench.target.read32(0x20000000)
    assert slept == [0.0]
