"""`python -m mcuq_lab.nucleosim.profile`: flashes, runs, prints and draws, without MCUQ."""

import subprocess
import sys

import pytest

from mcuq_lab.nucleosim import discard_board
from mcuq_lab.nucleosim.profile.__main__ import main

PROGRAM = """
volatile uint32_t total;
USED void work(uint32_t turns) { for (uint32_t i = 0; i < turns; i++) total += i; }
USED void last(void) { total = 0; }
int main(void) { work(10); last(); return 0; }
"""


@pytest.fixture(autouse=True)
def new_board():
    yield
    discard_board("sim:nucleo-f412zg")


@pytest.fixture
def elf(build_image):
    return str(build_image(PROGRAM).path)


def test_tables_from_reset_to_the_end(elf, capsys):
    assert main([elf, "--function", "work"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("NUCLEO-F412ZG (simulated), 16 MHz, cortex-m4 model")
    functions, calls, blocks, listing = printed.split("\n\n")[1:5]
    assert next(line.split()[0] for line in functions.splitlines()) == "function"
    assert {line.split()[0] for line in functions.splitlines()[1:]} == {
        "work",
        "last",
        "main",
        "Reset_Handler",
    }
    assert ["main", "work", "1"] in [line.split()[:3] for line in calls.splitlines()]
    assert "0x0800" in blocks
    assert "add" in listing


def test_until_a_function_and_at_most_so_many_cycles(elf, capsys):
    assert main([elf, "--until", "last"]) == 0
    assert "last" not in capsys.readouterr().out.split("\n\n")[1]
    discard_board("sim:nucleo-f412zg")
    assert main([elf, "--cycles", "50"]) == 0
    printed = capsys.readouterr()
    assert "did not halt" in printed.err
    assert 50 <= int(printed.out.splitlines()[1].split()[0]) < 70


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_figure(elf, tmp_path, suffix):
    path = tmp_path / f"profile.{suffix}"
    assert main([elf, "--figure", str(path)]) == 0
    assert path.stat().st_size > 1000
    if suffix == "svg":
        assert "Reset_Handler 100%" in path.read_text()


def test_mistakes_have_a_message_and_an_exit_code(elf, capsys):
    assert main([elf, "--until", "absent"]) == 1
    assert "no function 'absent'" in capsys.readouterr().err
    assert main(["absent.elf"]) == 1
    assert "absent.elf" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([elf, "--board", "absent"])


def test_importing_the_simulator_loads_neither_pandas_nor_matplotlib():
    code = (
        "import mcuq_lab.nucleosim, sys; sys.exit(bool({'pandas', 'matplotlib'} & {*sys.modules}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
