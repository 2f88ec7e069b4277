"""Compiled code is compiled anew when any file changes that it draws from."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcuq_lab.nucleosim.engine import cache_stamp

COMPILED = """
import numba
from package.peripherals.constants import ANSWER

@numba.njit(cache=True)
def answer():
    return ANSWER
"""
USED = """
from package.engine.cache_stamp import watch_sources
watch_sources()
from package.peripherals.compiled import answer
print(answer(), sum(answer.stats.cache_hits.values()))
"""


def answer_and_hits(directory: Path) -> list[int]:
    command = [sys.executable, "-c", USED]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    return [int(text) for text in done.stdout.split()]


@pytest.mark.slow
def test_a_change_in_another_file_is_seen(tmp_path):
    engine, peripherals = tmp_path / "package" / "engine", tmp_path / "package" / "peripherals"
    for folder in (engine, peripherals):
        folder.mkdir(parents=True)
    shutil.copy(cache_stamp.__file__, engine)
    (peripherals / "compiled.py").write_text(COMPILED)
    constants = peripherals / "constants.py"
    constants.write_text("ANSWER = 42\n")
    assert answer_and_hits(tmp_path) == [42, 0]
    assert answer_and_hits(tmp_path) == [42, 1]
    constants.write_text("ANSWER = 43  # of another size, so that Python's own cache sees it\n")
    assert answer_and_hits(tmp_path) == [43, 0]
