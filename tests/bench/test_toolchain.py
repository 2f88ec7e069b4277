"""The compilers are found, described, and refused with advice."""

import re
import shutil
import subprocess

import pytest

from mcuq_lab.bench.toolchain import BuildFlags, find_host_compiler, find_toolchain
from mcuq_lab.board import load_board
from mcuq_lab.errors import BuildError


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_version_is_the_compilers_own():
    toolchain = find_toolchain()
    said = subprocess.run([toolchain.path, "-dumpfullversion"], capture_output=True, text=True)
    assert toolchain.version == said.stdout.strip()
    assert toolchain.machine == "arm-none-eabi"
    assert find_toolchain(toolchain.path) == toolchain


def test_a_missing_compiler_comes_with_advice(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"apt install.*brew install.*conda install"):
        find_toolchain()
    with pytest.raises(BuildError, match=re.escape(str(tmp_path / "gcc"))):
        find_toolchain(tmp_path / "gcc")


def test_an_old_compiler_is_refused(tmp_path):
    answers = "case $1 in -dumpfullversion) echo 9.3.1;; *) echo arm-none-eabi;; esac"
    old = script(tmp_path / "arm-none-eabi-gcc", answers)
    with pytest.raises(BuildError, match=r"9\.3\.1.*10 or newer"):
        find_toolchain(old)


def test_what_is_no_gcc_is_refused(tmp_path):
    with pytest.raises(BuildError, match="no gcc"):
        find_toolchain(script(tmp_path / "silent", "true"))
    with pytest.raises(BuildError, match="does not run"):
        find_toolchain(script(tmp_path / "broken", "exit 3"))
    with pytest.raises(BuildError, match="not for a Cortex-M"):
        find_toolchain(shutil.which("gcc"))


def test_the_host_compiler_compiles_for_the_host():
    assert not find_host_compiler().machine.startswith("arm-none")


def test_flags_name_core_and_fpu_of_the_board():
    text = BuildFlags(extra=("-DX=1",)).text(load_board("nucleo_f412zg"))
    assert "-mcpu=cortex-m4" in text
    assert "-mfpu=fpv4-sp-d16 -mfloat-abi=hard" in text
    assert "-O3" in text
    assert text.endswith("-DX=1")
