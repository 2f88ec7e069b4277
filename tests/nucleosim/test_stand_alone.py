"""The package by itself: pyOCD finds it and it works where the rest of mcuq_lab cannot be imported.

A program of its own forbids every import of mcuq_lab but that of mcuq_lab.nucleosim, and those of
libraries that only the rest of mcuq_lab depends on.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # each test starts a Python of its own

GUARD = """
import importlib.abc, sys

FORBIDDEN = ("torch", "ray", "pandas", "matplotlib", "pyarrow", "pydantic", "filelock", "scipy")

class Guard(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        outside = name.startswith("mcuq_lab.") and not name.startswith("mcuq_lab.nucleosim")
        if outside or name.split(".")[0] in FORBIDDEN:
            raise ImportError(f"{name} is forbidden here")

sys.meta_path.insert(0, Guard())
"""

FLASH = """
from pyocd.__main__ import PyOCDTool
arguments = ["flash", "-t", "stm32f412xg", "--uid", uid, "--no-config", *options, elf]
assert PyOCDTool().run(arguments) == 0
"""

RUN = """
from pyocd.core.helpers import ConnectHelper
from mcuq_lab.nucleosim import Faults, simulated_board
session = ConnectHelper.session_with_chosen_probe(
    unique_id=uid, blocking=False, return_first=True, options={"no_config": True}
)
with session:
    session.target.reset_and_halt()
    session.target.resume()
    while not session.target.is_halted():
        pass
    answer = session.target.read32(int(symbol, 0))
board = simulated_board(uid)
print("answer", answer, "after", board.cycles, "cycles;", board.session_seconds.total_s > 0)
"""

SOURCE = """
volatile uint32_t answer;
int main(void) { answer = 6 * 7; return 0; }
"""


@pytest.fixture
def run(build_image):
    """Runs parts of a program behind the guard, on an image whose `answer` is 42."""
    image = build_image(SOURCE)

    def run_parts(*parts: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        known = f"uid, elf, symbol, options = {'sim:nucleo-f412zg:alone'!r}, {str(image.path)!r}, "
        known += f"{hex(image.symbols['answer'])!r}, {list(options)!r}\n"
        return subprocess.run(
            [sys.executable, "-c", "\n".join([GUARD, known, *parts])],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run_parts


def test_flash_and_run(run):
    result = run(FLASH, RUN)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "answer 42 after" in result.stdout
    assert "cycles; True" in result.stdout


def test_the_guard_guards(run):
    for module in ("mcuq_lab.board", "mcuq_lab.bench", "torch"):
        assert f"{module} is forbidden here" in run(f"import {module}").stderr


def test_the_command_fails_as_the_option_says(run):
    result = run(FLASH, options=("-O", "nucleosim.faults=unplugged_after=150"))
    assert result.returncode != 0
    assert "unplugged" in result.stdout + result.stderr
    result = run(FLASH, options=("-O", "nucleosim.faults=unplugged_at=150"))
    assert result.returncode != 0
    assert "unknown fault 'unplugged_at'; known: unplugged, " in result.stdout + result.stderr
