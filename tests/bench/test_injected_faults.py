"""Each fault of the simulated board through the bench: its status, and the run after it."""

import numpy as np
import pytest

from mcuq_lab import nucleosim
from mcuq_lab.bench.firmware import build
from mcuq_lab.bench.session import open_board
from mcuq_lab.board import load_board
from mcuq_lab.errors import BoardError, ConfigError
from mcuq_lab.nucleosim import Faults

BOARD = load_board("nucleo_f412zg")
UID = "sim:nucleo-f412zg:bench-faults"


@pytest.fixture
def board():
    board = nucleosim.simulated_board(UID)
    yield board
    nucleosim.discard_board(UID)


@pytest.fixture
def firmware(tiny):
    return build(tiny.sources, BOARD)


def works(firmware, tiny):
    """Whether a new session, as the next episode opens one, measures rightly."""
    with open_board(BOARD, probe_uid=UID) as session:
        output = session.run(firmware, tiny.inputs)
    return np.array_equal(output.outputs, tiny.expected(tiny.inputs))


WHILE_FLASHING = [
    (Faults(unplugged=True), "probe_error", "unplugged"),
    (Faults(unplugged_after=100), "probe_error", "unplugged"),
    (Faults(transfer_fault_after=100, transfer_fault_count=30), "probe_error", "no acknowledge"),
    (Faults(swd_fault_after=60, swd_fault_count=0), "probe_error", "Memory transfer fault"),
    (Faults(swd_wait_after=60), "probe_error", "WAIT"),
    (Faults(flash_error_after=0), "probe_error", "flash erase sector failure"),
    (Faults(flash_error_after=10), "probe_error", "flash program page failure"),
    (Faults(hang_at_cycle=300), "probe_error", "tim(ed |e)out"),
]

WHILE_RUNNING = [
    (Faults(unplugged_after=30), "probe_error", "Could not run on .*unplugged"),
    (Faults(transfer_fault_after=30, transfer_fault_count=30), "probe_error", "no acknowledge"),
    (Faults(swd_fault_after=30, swd_fault_count=0), "probe_error", "Memory transfer fault"),
    (Faults(swd_wait_after=30), "probe_error", "WAIT"),
    (Faults(hang_at_cycle=500), "timeout", r"did not end in 0\.3 s"),
    (Faults(hard_fault_at_cycle=500), "fault", r"took a fault: .*\(VECTTBL\)"),
    (Faults(brown_out_at_cycle=500), "probe_error", "was reset while it ran"),
]


def name(value):
    if not isinstance(value, Faults):
        return ""
    return "-".join(key for key, own in vars(value).items() if own != getattr(Faults, key))


@pytest.mark.parametrize(("faults", "status", "said"), WHILE_FLASHING, ids=name)
def test_a_fault_while_flashing(board, firmware, tiny, faults, status, said, quick_limits):
    with open_board(BOARD, probe_uid=UID) as session:
        board.inject(faults)
        with pytest.raises(BoardError, match=said) as error:
            session.run(firmware, tiny.inputs)
    assert error.value.status == status
    board.inject(Faults())
    assert works(firmware, tiny)


@pytest.mark.parametrize(("faults", "status", "said"), WHILE_RUNNING, ids=name)
def test_a_fault_while_running(board, firmware, tiny, faults, status, said):
    with open_board(BOARD, probe_uid=UID) as session:
        session.run(firmware, tiny.inputs)
        board.inject(faults)
        with pytest.raises(BoardError, match=said) as error:
            session.run(firmware, tiny.inputs, inference_timeout_s=0.3)
    assert error.value.status == status
    board.inject(Faults())
    assert works(firmware, tiny)


def test_a_stuck_flash_controller(board, firmware, tiny, quick_limits):
    board.slice_cycles = 20_000
    with open_board(BOARD, probe_uid=UID) as session:
        board.inject(Faults(flash_stuck_busy=True))
        with pytest.raises(BoardError, match="flash erase sector timed out") as error:
            session.run(firmware, tiny.inputs)
    assert error.value.status == "probe_error"
    board.inject(Faults())
    assert works(firmware, tiny)


@pytest.fixture
def quick_limits(monkeypatch):
    """pyOCD gives up on a flash algorithm within a second."""
    from mcuq_lab.bench import probe

    options, steps = probe._options, ("init", "analyzer", "erase_sector", "program")
    limits = {f"flash.timeout.{step}": 0.5 for step in steps}
    monkeypatch.setattr(probe, "_options", lambda board: options(board) | limits)


def test_waits_within_the_probes_patience_are_survived(board, firmware, tiny):
    board.inject(Faults(swd_wait_after=200, swd_wait_count=100))
    assert works(firmware, tiny)


@pytest.mark.parametrize(
    "faults", [Faults(slow_swd_hz=5000), Faults(unplugged_after=10**9)], ids=name
)
def test_what_never_strikes_changes_no_result(board, firmware, tiny, faults):
    board.inject(faults)
    assert works(firmware, tiny)


def test_settings_of_the_user_inject_faults(board, firmware, tiny, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mcuq.toml").write_text('[simulator]\nfaults = "bad.toml"\n')
    (tmp_path / "bad.toml").write_text("unplugged_after = 150\n")
    with open_board(BOARD, probe_uid=UID) as session:
        with pytest.raises(BoardError, match="unplugged") as error:
            session.run(firmware, tiny.inputs)
        assert error.value.status == "probe_error"
    assert "fails on purpose" in caplog.text
    board.inject(Faults())  # a person plugs it in again
    (tmp_path / "mcuq.toml").write_text('[simulator]\nfaults = "unplug=true"\n')
    with (
        pytest.raises(BoardError, match="unknown fault 'unplug'; known: unplugged, "),
        open_board(BOARD, probe_uid=UID),
    ):
        pass
    (tmp_path / "mcuq.toml").write_text("[simulator]\nfault = 3\n")
    with pytest.raises(ConfigError), open_board(BOARD, probe_uid=UID):
        pass
    (tmp_path / "mcuq.toml").unlink()
    board.inject(Faults())
    assert works(firmware, tiny)
