"""Each fault of `Faults`, as a user of pyOCD meets it."""

import contextlib

import pytest
from pyocd.core import exceptions
from pyocd.core.target import Target
from pyocd.flash.loader import FlashLoader
from pyocd.probe.aggregator import DebugProbeAggregator

from mcuq_lab.nucleosim import Faults, FaultsError, simulated_board, swd_times
from mcuq_lab.nucleosim.board import SLICE_CYCLES
from mcuq_lab.nucleosim.chip import board_ids
from mcuq_lab.nucleosim.swd_link import WAIT_RETRIES

FLASH = 0x08000000
IMAGE = bytes(range(256)) * 8

# pyOCD's algorithm for the H743 waits for BSY and looks at no error flag.
SILENT = {"nucleo-h743zi"}


def reported(board, error):
    """pyOCD raises `error`, unless the board's flash algorithm does not notice."""
    return contextlib.nullcontext() if board in SILENT else pytest.raises(error)


LONG = """
volatile uint32_t done, kept;
int main(void) {
  done = 0; kept = 7;
  for (volatile int i = 0; i < 100000; i++) { }
  done = 1;
  return 0;
}
"""


def test_unplugged_probe_is_gone(bench):
    uid = bench.session.probe.unique_id
    bench.board.inject(Faults(unplugged=True))
    with pytest.raises(exceptions.ProbeDisconnected):
        bench.target.read32(0x20000000)
    assert DebugProbeAggregator.get_all_connected_probes(uid) == []
    bench.board.inject(Faults())
    assert bench.target.read32(0xE000ED00) == 0x410FC241
    assert len(DebugProbeAggregator.get_all_connected_probes(uid)) == 1


def test_transfer_fault_after_some_accesses(bench):
    bench.board.inject(Faults(transfer_fault_after=3, transfer_fault_count=2))
    for _ in range(3):
        bench.target.selected_core.ap.read32(0x20000000)
    for _ in range(2):
        with pytest.raises(exceptions.TransferError):
            bench.target.selected_core.ap.read32(0x20000000)
    bench.target.selected_core.ap.read32(0x20000000)


def test_hang_never_halts_by_itself(bench, build_image):
    bench.flash(build_image(LONG))
    bench.board.inject(Faults(hang_at_cycle=5000))
    assert bench.run(polls=20) is Target.State.RUNNING
    bench.target.halt()
    assert bench.target.get_state() is Target.State.HALTED
    assert bench.read("done") == [0]
    bench.target.reset_and_halt()
    assert bench.run() is Target.State.HALTED
    assert bench.read("done") == [1]


def test_hard_fault_at_a_cycle(bench, build_image):
    bench.flash(build_image(LONG))
    start = bench.board.cycles
    bench.board.inject(Faults(hard_fault_at_cycle=5000))
    assert bench.run() is Target.State.HALTED
    assert bench.read("fault_record")[0] == 3
    assert bench.read("done") == [0]
    assert 5000 <= bench.board.cycles - start < 5300


def test_brown_out_loses_ram_and_debug_state(bench, build_image):
    bench.flash(build_image(LONG))
    bench.board.inject(Faults(brown_out_at_cycle=5000))
    bench.target.resume()
    states = {bench.target.get_state() for _ in range(3)}
    assert Target.State.HALTED not in states
    assert bench.target.read32(0x40023874) & 1 << 25  # RCC_CSR.BORRSTF
    assert not bench.target.read32(0xE000EDF0) & 1  # debug is off: nobody would see a BKPT
    assert bench.read("kept") != [7] or bench.target.read32(0x20030000) == 0xA5A5A5A5
    assert bench.target.read32(0x20030000) == 0xA5A5A5A5


def test_faults_are_repeatable(new_bench, build_image):
    image = build_image(LONG)
    places = []
    for _ in range(2):
        bench = new_bench()
        bench.flash(image)
        bench.board.inject(Faults(hard_fault_at_cycle=12_345))
        bench.run()
        places.append(bench.read("fault_record", 12))
    assert places[0] == places[1]


def test_boards_live_as_long_as_the_process(new_bench):
    bench = new_bench(uid="sim:nucleo-f412zg:kept")
    bench.target.write32(0x20000000, 0xCAFE)
    bench.session.close()
    assert simulated_board("sim:nucleo-f412zg:kept") is bench.board
    assert new_bench(uid="SIM:NUCLEO-F412ZG:kept").target.read32(0x20000000) == 0xCAFE


def test_probe_is_lost_in_the_middle_of_a_run(bench, build_image):
    bench.flash(build_image(LONG))
    uid = bench.session.probe.unique_id
    bench.board.slice_cycles = 1000
    bench.board.inject(Faults(unplugged_after=30))
    with pytest.raises(exceptions.ProbeDisconnected, match="unplugged"):
        bench.run()
    with pytest.raises(exceptions.ProbeDisconnected):
        bench.target.read32(0x20000000)
    assert DebugProbeAggregator.get_all_connected_probes(uid) == []
    bench.board.inject(Faults())
    bench.board.slice_cycles = SLICE_CYCLES
    assert bench.run() is Target.State.HALTED
    assert bench.read("done") == [1]


def test_a_lost_probe_cannot_be_opened_again_until_it_is_back(new_bench):
    uid = "sim:nucleo-f412zg:lost"
    bench = new_bench(uid=uid)
    bench.board.inject(Faults(unplugged=True))
    with pytest.raises(exceptions.ProbeDisconnected):
        bench.session.probe.open()
    bench.board.inject(Faults())
    bench.session.probe.open()


@pytest.mark.parametrize("raw", [False, True])
def test_fault_answers_are_faults_and_clear(new_bench, raw):
    bench = new_bench(nucleosim__raw_dap=raw)
    memory = bench.target.selected_core.ap
    bench.board.inject(Faults(swd_fault_after=0, swd_fault_count=2))
    for _ in range(2):
        with pytest.raises(exceptions.TransferFaultError, match="@ 0x20000010"):
            memory.read32(0x20000010)
    assert memory.read32(0xE000ED00) == 0x410FC241


def test_debug_port_answers_while_the_access_port_does_not(new_bench):
    bench = new_bench(nucleosim__raw_dap=True)
    for faults in (Faults(swd_fault_after=0, swd_fault_count=0), Faults(swd_wait_after=0)):
        bench.board.inject(faults)
        with pytest.raises(exceptions.TransferError):
            bench.target.selected_core.ap.read32(0x20000000)
        assert bench.target.dp.read_reg(0x4) >> 28 == 0xF
    bench.board.inject(Faults(transfer_fault_after=0))
    with pytest.raises(exceptions.TransferError):
        bench.target.dp.read_reg(0x4)


@pytest.mark.parametrize("raw", [False, True])
def test_the_probe_waits_as_long_as_it_has_patience(new_bench, raw):
    bench = new_bench(nucleosim__raw_dap=raw)
    memory = bench.target.selected_core.ap
    memory.write32(0x20000000, 0xCAFE)
    before_s = bench.board.session_seconds.transfers_s
    memory.read32(0x20000000)
    usual_s = bench.board.session_seconds.transfers_s - before_s
    bench.board.inject(Faults(swd_wait_after=0, swd_wait_count=WAIT_RETRIES))
    before_s = bench.board.session_seconds.transfers_s
    assert memory.read32(0x20000000) == 0xCAFE
    waited_s = bench.board.session_seconds.transfers_s - before_s - usual_s
    wait_s = swd_times.wait_s(bench.board.swd.frequency_hz)
    assert waited_s == pytest.approx(WAIT_RETRIES * wait_s)


@pytest.mark.parametrize("raw", [False, True])
def test_the_probe_gives_up_on_more_waits(new_bench, raw):
    bench = new_bench(nucleosim__raw_dap=raw)
    memory = bench.target.selected_core.ap
    bench.board.inject(Faults(swd_wait_after=0, swd_wait_count=2 * (WAIT_RETRIES + 1)))
    for _ in range(2):
        with pytest.raises(exceptions.TransferTimeoutError, match="WAIT"):
            memory.read32(0x20000000)
    memory.read32(0x20000000)
    bench.board.inject(Faults(swd_wait_after=0))
    for _ in range(5):
        with pytest.raises(exceptions.TransferTimeoutError):
            memory.read32(0x20000000)
    bench.board.inject(Faults())
    memory.read32(0x20000000)


@pytest.mark.parametrize("board", board_ids())
def test_a_flash_controller_that_stays_busy_ends_by_pyocds_time_limit(new_bench, board):
    limits = {f"flash.timeout.{step}": 0.3 for step in ("init", "erase_sector", "program")}
    bench = new_bench(uid=f"sim:{board}:busy", **limits)
    bench.board.slice_cycles = 20_000
    bench.board.inject(Faults(flash_stuck_busy=True))
    with pytest.raises(exceptions.FlashEraseFailure, match="timed out"):
        FlashLoader.program_binary_data(bench.session, FLASH, IMAGE)
    bench.board.inject(Faults())
    bench.target.reset_and_halt()
    FlashLoader.program_binary_data(bench.session, FLASH, IMAGE)
    assert bytes(bench.target.read_memory_block8(FLASH, len(IMAGE))) == IMAGE


@pytest.mark.parametrize("board", board_ids())
def test_erasing_fails_with_the_controllers_error(new_bench, board):
    bench = new_bench(uid=f"sim:{board}:erase")
    bench.board.inject(Faults(flash_error_after=0))
    with reported(board, exceptions.FlashEraseFailure):
        FlashLoader.program_binary_data(bench.session, FLASH, IMAGE)
    assert bench.board.flash_erase_count == 0
    bench.board.inject(Faults())
    FlashLoader.program_binary_data(bench.session, FLASH, IMAGE)
    assert bytes(bench.target.read_memory_block8(FLASH, len(IMAGE))) == IMAGE


@pytest.mark.parametrize("board", board_ids())
def test_programming_fails_with_the_controllers_error(new_bench, board):
    bench = new_bench(uid=f"sim:{board}:program")
    bench.board.inject(Faults(flash_error_after=33))
    with reported(board, exceptions.FlashProgramFailure):
        FlashLoader.program_binary_data(bench.session, FLASH, IMAGE)
    # What was not an erase was the store of a word, or of what the family programs at a time.
    stores = 33 - bench.board.flash_erase_count
    stored = bench.board.flash_image()[: len(IMAGE)]
    good_bytes = next(at for at in range(len(IMAGE)) if stored[at] != IMAGE[at])
    assert good_bytes in (stores * 4, stores * 8, stores * 32)
    assert set(stored[good_bytes:]) == {0xFF}


def test_slow_swd_shows_in_the_modelled_time_only(bench):
    def read_s():
        before_s = bench.board.session_seconds.total_s
        bench.target.read_memory_block32(0x20000000, 1000)
        return bench.board.session_seconds.total_s - before_s

    usual_s = read_s()
    bench.board.inject(Faults(slow_swd_hz=10_000))
    assert bench.board.swd.frequency_hz == 10_000
    assert read_s() > 50 * usual_s
    bench.board.inject(Faults())
    assert read_s() == pytest.approx(usual_s)


def test_faults_have_limits():
    with pytest.raises(FaultsError, match="hang_at_cycle = -1 is too small"):
        Faults(hang_at_cycle=-1)
    with pytest.raises(FaultsError, match="slow_swd_hz = 0"):
        Faults(slow_swd_hz=0)
