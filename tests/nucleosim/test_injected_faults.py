"""Each fault of `Faults`, as a user of pyOCD meets it."""

import pytest
from pyocd.core import exceptions
from pyocd.core.target import Target
from pyocd.probe.aggregator import DebugProbeAggregator

from mcuq_lab.nucleosim import Faults, simulated_board

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
