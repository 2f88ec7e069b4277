"""Compiled code is kept, and compiled anew when any file changes that it draws from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mcuq_lab import nucleosim
from mcuq_lab.nucleosim.engine import compiled

COMPILED = """
from package.engine.compiled import compiled
from package.peripherals.constants import ANSWER

@compiled
def answer():
    return ANSWER
"""
USED = """
from package.peripherals.function import answer
print(answer(), sum(answer.stats.cache_hits.values()))
"""

CALLBACKS = """
from mcuq_lab.nucleosim.peripherals import flash_f4_f7, flash_h7, flash_l4
from mcuq_lab.nucleosim.peripherals.flash_callbacks import callbacks
families = (flash_f4_f7, flash_h7, flash_l4)
print([callback.cache_hits for family in families for callback in callbacks(family)])
"""


def answer_and_hits(directory: Path) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", USED],
        cwd=directory,
        env={**os.environ, "XDG_CACHE_HOME": str(directory / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(text) for text in done.stdout.split()]


@pytest.mark.slow
def test_a_change_in_another_file_is_seen(tmp_path):
    engine, peripherals = tmp_path / "package" / "engine", tmp_path / "package" / "peripherals"
    for folder in (engine, peripherals):
        folder.mkdir(parents=True)
    shutil.copy(compiled.__file__, engine)
    (peripherals / "function.py").write_text(COMPILED)
    constants = peripherals / "constants.py"
    constants.write_text("ANSWER = 42\n")
    assert answer_and_hits(tmp_path) == [42, 0]
    assert answer_and_hits(tmp_path) == [42, 1]
    constants.write_text("ANSWER = 43  # of another size, so that Python's own cache sees it\n")
    assert answer_and_hits(tmp_path) == [43, 0]


@pytest.mark.slow
def test_the_callbacks_of_each_flash_are_kept():
    for _ in range(2):  # the first process may have to compile
        done = subprocess.run(
            [sys.executable, "-c", CALLBACKS], capture_output=True, text=True, check=True
        )
    assert json.loads(done.stdout) == [1] * 9


def test_nothing_is_kept_by_the_file_alone():
    sources = Path(nucleosim.__file__).parent.rglob("*.py")
    keep = {path.name for path in sources if "cache=True" in path.read_text(encoding="utf-8")}
    assert keep == {"compiled.py"}
