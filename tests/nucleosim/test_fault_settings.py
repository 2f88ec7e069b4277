"""Faults by configuration: text to `Faults`, and the session option that holds it."""

import pytest
from pyocd.core import exceptions
from pyocd.core.target import Target

from mcuq_lab.nucleosim import Faults, FaultsError
from mcuq_lab.nucleosim.fault_settings import faults_from_setting


def test_one_line(tmp_path):
    text = "hang_at_cycle=100_000, transfer_fault_after = 200,stuck_flash_address=0x08001234"
    assert faults_from_setting(text, tmp_path) == Faults(
        hang_at_cycle=100_000, transfer_fault_after=200, stuck_flash_address=0x08001234
    )
    assert faults_from_setting(" unplugged=true ", tmp_path) == Faults(unplugged=True)
    assert faults_from_setting({"swd_wait_count": 7}, tmp_path) == Faults(swd_wait_count=7)


def test_file_beside_the_project(tmp_path):
    (tmp_path / "faults.toml").write_text("# as bad as it gets\nflash_stuck_busy = true\n")
    assert faults_from_setting("faults.toml", tmp_path) == Faults(flash_stuck_busy=True)
    assert faults_from_setting(str(tmp_path / "faults.toml"), tmp_path / "elsewhere") == Faults(
        flash_stuck_busy=True
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hang_at=5", "unknown fault 'hang_at'; known: unplugged, unplugged_after, transfer_"),
        ("hang_at_cycle=soon", "not understood.*name=value"),
        ("hang_at_cycle=1.5", "hang_at_cycle in .* must be an integer, not 1.5"),
        ("hang_at_cycle=true", "must be an integer, not True"),
        ("unplugged=1", "unplugged in .* must be true or false, not 1"),
        ("hang_at_cycle=-3", "hang_at_cycle = -3 is too small"),
        ("hang_at_cycle", "not understood"),
        ("none.toml", "cannot read .*none.toml: No such file"),
    ],
)
def test_mistakes_are_named(tmp_path, text, said):
    with pytest.raises(FaultsError, match=said):
        faults_from_setting(text, tmp_path)


def test_the_option_injects_at_each_opening(new_bench):
    bench = new_bench(nucleosim__faults="unplugged_after=200, swd_fault_count=3")
    assert bench.board.faults == Faults(unplugged_after=200, swd_fault_count=3)

    def use_up():
        for _ in range(200):
            bench.target.read32(0x20000000)

    with pytest.raises(exceptions.ProbeDisconnected):
        use_up()
    bench.session.probe.open()
    bench.target.read32(0x20000000)


def test_without_the_option_a_board_keeps_its_faults(new_bench, build_image):
    uid = "sim:nucleo-f412zg:keeps-faults"
    new_bench(uid=uid).board.inject(Faults(hang_at_cycle=0))
    bench = new_bench(uid=uid)
    assert bench.board.faults == Faults(hang_at_cycle=0)
    bench.board.slice_cycles = 1000
    bench.target.resume()
    assert bench.target.get_state() is not Target.State.HALTED


def test_a_mistake_in_the_option_is_an_error_of_pyocd(new_bench):
    with pytest.raises(exceptions.Error, match="unknown fault 'unplug'"):
        new_bench(nucleosim__faults="unplug=true")


def test_pyocd_yaml_may_hold_a_mapping(new_bench, tmp_path):
    (tmp_path / "pyocd.yaml").write_text(
        "probes:\n"
        "  sim:nucleo-f412zg:yaml:\n"
        "    nucleosim.faults: {swd_fault_after: 1_000_000, unplugged: false}\n"
    )
    bench = new_bench(uid="sim:nucleo-f412zg:yaml", project_dir=str(tmp_path))
    assert bench.board.faults == Faults(swd_fault_after=1_000_000)
