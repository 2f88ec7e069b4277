"""Finds the C compilers, and says with which flags they are called."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mcuq_lab.board import Board
from mcuq_lab.errors import BuildError

ARM_GCC = "arm-none-eabi-gcc"
OLDEST_GCC = 10
_CORES_WITH_CACHES = ("cortex-m7",)

_HOW_TO_INSTALL = {
    ARM_GCC: (
        "Debian/Ubuntu: sudo apt install gcc-arm-none-eabi; "
        "macOS: brew install --cask gcc-arm-embedded; "
        "conda: conda install -c memfault xpack-gcc-arm-none-eabi"
    ),
    "gcc": (
        "Debian/Ubuntu: sudo apt install gcc libc6-dev; macOS: xcode-select --install; "
        "conda: conda install -c conda-forge gcc"
    ),
}


@dataclass(frozen=True)
class Toolchain:
    """One gcc.

    Attributes:
        path: the compiler driver.
        version: `12.2.1`.
        banner: first line of `--version`; part of an object's identity in the cache.
        machine: what it compiles for, `arm-none-eabi`.
    """

    path: Path
    version: str
    banner: str
    machine: str

    @property
    def name(self) -> str:
        """Name and version as a result row records them."""
        return f"{self.path.name} {self.version}"


@dataclass(frozen=True)
class BuildFlags:
    """How sources are compiled for a board; -O3 is what the reference figures were measured with.

    Attributes:
        optimize: optimisation options.
        dialect: language and code generation. Freestanding, so that no C library is needed, but
            with gcc's built-ins: engines read words by `memcpy(&word, p, 4)`, which must become
            one load and not a call.
        warnings: all of them errors, in generated code as in ours.
        debug: line tables only, for the decoding of faults; they never reach the flash.
        extra: appended, for experiments.
    """

    optimize: tuple[str, ...] = ("-O3",)
    dialect: tuple[str, ...] = (
        "-std=c11",
        "-ffreestanding",
        "-fbuiltin",
        "-fno-common",
        "-ffunction-sections",
        "-fdata-sections",
    )
    warnings: tuple[str, ...] = ("-Wall", "-Wextra", "-Werror")
    debug: tuple[str, ...] = ("-g1",)
    extra: tuple[str, ...] = ()

    def arguments(self, board: Board) -> tuple[str, ...]:
        """All compiler arguments for `board`."""
        return (
            *machine_arguments(board),
            *self.optimize,
            *self.dialect,
            *self.warnings,
            *self.debug,
            *self.extra,
        )

    def text(self, board: Board) -> str:
        """The arguments as one string, as a result row records them."""
        return " ".join(self.arguments(board))


def machine_arguments(board: Board) -> tuple[str, ...]:
    """What selects the board's core and FPU, for compiling and for linking.

    MCUQ_CACHES makes the start-up code switch the caches on.
    """
    core = (f"-mcpu={board.core}", "-mthumb", f"-mfpu={board.fpu}", "-mfloat-abi=hard")
    return (*core, "-DMCUQ_CACHES") if board.core in _CORES_WITH_CACHES else core


def find_toolchain(path: Path | str | None = None) -> Toolchain:
    """arm-none-eabi-gcc, at `path` or on PATH.

    Raises:
        BuildError: there is none, it does not run, it is no Arm compiler, or it is too old.
    """
    toolchain = _find(ARM_GCC, path)
    if not toolchain.machine.startswith("arm"):
        raise BuildError(
            f"{toolchain.path} compiles for {toolchain.machine}, not for a Cortex-M. "
            f"Give the path of {ARM_GCC}."
        )
    return toolchain


def find_host_compiler(path: Path | str | None = None) -> Toolchain:
    """The gcc of this computer, at `path` or on PATH; raises BuildError like `find_toolchain`."""
    return _find("gcc", path)


def _find(name: str, path: Path | str | None) -> Toolchain:
    found = shutil.which(str(path) if path is not None else name)
    if found is None:
        where = f"at {path}" if path is not None else "on PATH"
        raise BuildError(f"No {name} {where}. Install it: {_HOW_TO_INSTALL[name]}.")
    return _describe(found, Path(found).stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _describe(path: str, _changed_ns: int) -> Toolchain:
    banner = _ask(path, "--version").splitlines()[0]
    version = _ask(path, "-dumpfullversion").strip()
    match = re.match(r"(\d+)\.", version)
    if match is None:
        raise BuildError(f"{path} does not answer like gcc: -dumpfullversion gave '{version}'.")
    if int(match.group(1)) < OLDEST_GCC:
        raise BuildError(
            f"{path} is gcc {version}; MCUQ needs {OLDEST_GCC} or newer. "
            f"Install it: {_HOW_TO_INSTALL.get(Path(path).name, _HOW_TO_INSTALL[ARM_GCC])}."
        )
    return Toolchain(Path(path), version, banner, _ask(path, "-dumpmachine").strip())


def _ask(path: str, option: str) -> str:
    try:
        answer = subprocess.run(
            [path, option], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BuildError(f"{path} {option} does not run: {error}. Reinstall it.") from error
    if not answer.stdout.strip():
        raise BuildError(f"{path} {option} printed nothing: it is no gcc.")
    return answer.stdout
