"""`pyocd flash` where `nucleosim.faults` makes a board fail: exit code and message."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

# (faults, exit code, what the command says)
CASES = (
    ("", 0, ""),
    ("unplugged=true", 1, "is unplugged"),
    ("unplugged_after=100", 1, "SWD access failed: unplugged"),
    ("transfer_fault_after=100, transfer_fault_count=30", 1, "no acknowledge"),
    ("swd_fault_after=60, swd_fault_count=0", 1, "Memory transfer fault"),
    ("swd_wait_after=60", 1, "WAIT, 151 times"),
    ("swd_wait_after=60, swd_wait_count=150", 0, ""),
    ("slow_swd_hz=1000", 0, ""),
    ("flash_error_after=0", 1, "flash erase sector failure"),
    ("flash_error_after=10", 1, "flash program page failure"),
    ("flash_stuck_busy=true", 1, "flash erase sector timed out"),
)

PROGRAM = """
import json, sys
from pyocd.__main__ import PyOCDTool
elf, *cases = json.loads(sys.argv[1])
for number, faults in enumerate(cases):
    print("CASE", number, flush=True)
    command = ["flash", "-t", "stm32f412xg", "--uid", f"sim:nucleo-f412zg:case{number}"]
    command += ["--no-config", "-q", "-O", f"nucleosim.faults={faults}"]
    for step in ("init", "analyzer", "erase_sector", "program"):
        command += ["-O", f"flash.timeout.{step}=1.0"]
    print("EXIT", PyOCDTool().run([*command, elf]), flush=True)
"""


@pytest.fixture(scope="module")
def printed(build_image) -> list[str]:
    """What each case printed; one process for all, since starting pyOCD takes seconds."""
    image = build_image("int main(void) { return 0; }")
    arguments = json.dumps([str(image.path), *(faults for faults, _, _ in CASES)])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.split("CASE ")[1:]


@pytest.mark.parametrize(
    "number", range(len(CASES)), ids=[faults or "none" for faults, _, _ in CASES]
)
def test_flash_command(printed, number):
    _, exit_code, said = CASES[number]
    assert f"EXIT {exit_code}\n" in printed[number]
    assert said in printed[number]
