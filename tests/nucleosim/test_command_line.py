"""`pyocd` itself, in processes of its own, and gdb."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mcuq_lab.nucleosim import flash_store
from mcuq_lab.nucleosim.chip import board_ids, load_chip

SOURCE = """
volatile uint32_t answer;
USED uint32_t twice(uint32_t x) { return 2 * x; }
int main(void) {
  answer = twice(21);
  return 0;
}
"""
pytestmark = pytest.mark.slow  # each command starts a Python of its own
DEFAULT_BOARD = "nucleo-f412zg"
UID = f"sim:{DEFAULT_BOARD}:cli"


def pyocd(*arguments: str, timeout_s: float = 120) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "pyocd", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_list_shows_the_boards():
    listed = pyocd("list")
    for board in board_ids():
        assert f"sim:{board}" in listed
        assert load_chip(board).name.split("/")[0] in listed
    assert "stm32f412xg" in listed


def test_blank_board_is_in_lockup():
    # No vector table, so the first fetch faults, and so does the fetch of its handler.
    status = pyocd("commander", "--uid", UID, "-c", "status", "-c", "show target")
    assert "Lockup" in status
    assert "stm32f412xg" in status.lower()


@pytest.fixture
def flashed(request, tmp_path, build_image):
    """An image, flashed by one process into the file that the next one reads."""
    board = getattr(request, "param", DEFAULT_BOARD)
    options = ["-O", "nucleosim.persist=true", "-O", f"nucleosim.flash_dir={tmp_path}"]
    image = build_image(SOURCE, board)
    pyocd("flash", *target_and_uid(board), *options, str(image.path))
    return image, options, tmp_path


def target_and_uid(board: str) -> list[str]:
    return ["-t", load_chip(board).pyocd_target, "--uid", f"sim:{board}:cli"]


def test_flash_persists_if_asked_to(flashed):
    image, options, directory = flashed
    stored = flash_store.load(flash_store.flash_file(directory, UID))
    assert len(stored) == 1 << 20
    assert int.from_bytes(stored[4:8], "little") == image.symbols["Reset_Handler"] | 1
    assert [path.name for path in Path(directory).iterdir()] == ["sim_nucleo-f412zg_cli.flash"]
    words = pyocd("commander", "--uid", UID, *options, "-c", "read32 0x08000000 8")
    assert f"{image.symbols['Reset_Handler'] | 1:08x}" in words
    words = pyocd("commander", "--uid", UID, "-c", "read32 0x08000000 8")
    assert "ffffffff ffffffff" in words


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize(
    ("flashed", "board"),
    [(board, board) for board in (DEFAULT_BOARD, "nucleo-f767zi", "nucleo-h743zi")],
    indirect=["flashed"],
)
def test_gdb_debugs_the_board(flashed, board):
    gdb = shutil.which("gdb-multiarch") or shutil.which("arm-none-eabi-gdb")
    if gdb is None:
        pytest.skip("no gdb for Arm on PATH: install gdb-multiarch")
    image, options, _ = flashed
    port = free_port()
    command = [sys.executable, "-m", "pyocd", "gdbserver", *target_and_uid(board)]
    command += [*options, "--port", str(port), "--telnet-port", str(free_port())]
    server = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lines = []
        for line in server.stdout:
            lines.append(line)
            if f"listening on port {port}" in line:
                break
        else:
            pytest.fail("".join(lines))
        commands = [
            "set confirm off",
            "set pagination off",
            f"target remote 127.0.0.1:{port}",
            "monitor reset halt",
            "load",
            "monitor reset halt",
            "break twice",
            "continue",
            "info symbol $pc",
            "print x",
            "finish",
            "delete",
            "continue",
            "x/1uw &answer",
            "x/i $pc",
            "detach",
        ]
        arguments = [part for command in commands for part in ("-ex", command)]
        session = subprocess.run(
            [gdb, "-batch", "-nx", *arguments, str(image.path)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        server.terminate()
        server.wait(timeout=30)
    output = session.stdout
    assert "Breakpoint 1, twice (x=" in output, output + session.stderr
    assert "$1 = 21" in output
    assert "twice in section .text" in output
    assert "Value returned is $2 = 42" in output
    assert "<answer>:\t42" in output
    assert "bkpt" in output
