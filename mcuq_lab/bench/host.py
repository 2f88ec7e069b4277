"""The generated C on this computer, under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcuq_lab.bench.objects import Objects, compile_objects, run_tool
from mcuq_lab.bench.toolchain import Toolchain, find_host_compiler
from mcuq_lab.content_cache import ContentCache, content_key, user_cache
from mcuq_lab.errors import BuildError, NumericsError
from mcuq_lab.sources import SourceFile, Sources

_WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror")
# gcc takes a third of the time that it takes over the checks at -O1, and what it optimizes away
# unchecked is less. A report needs lines and functions, which -g1 keeps, but no variables.
_SANITIZED = ("-Og", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# What the sanitizers' own libraries lack is found at the start: to look for it at each link is half
# of the link. Apple's linker knows no such option.
_TRUST_LIBRARIES = "-Wl,--allow-shlib-undefined"
_FAST = ("-O2",)
_UNUSED_LEFT_OUT = ("-ffunction-sections", "-fdata-sections")
_MAIN = Path(__file__).with_name("host_main.c")
_EXIT_WRONG_SIZE = 64
_LINK_TIMEOUT_S = 120.0


def run_on_host(
    sources: Sources,
    inputs: np.ndarray,
    sanitize: bool = True,
    *,
    compiler: Toolchain | None = None,
    cache: ContentCache | None = None,
    timeout_s: float = 300.0,
) -> np.ndarray:
    """Outputs of a generated network, computed by its C on this computer.

    Args:
        sources: a network that keeps the C contract (see `mcuq_lab.sources`).
        inputs: uint8 of shape (N, input bytes), as stored in memory.
        sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer, some five times slower.
        compiler: this computer's gcc; default: found on PATH.
        cache: where objects and executables are kept; default: the user's.
        timeout_s: longest run.

    Returns:
        uint8 of shape (N, output bytes).

    Raises:
        BuildError: no compiler, or it refuses the sources.
        NumericsError: a sanitizer stops the run, it crashes, hangs, or wants inputs of another
            size.
    """
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or not len(inputs):
        raise NumericsError(
            f"run_on_host takes uint8 inputs of shape (N >= 1, input bytes), "
            f"not {inputs.dtype} of shape {inputs.shape}."
        )
    executable = build_for_host(sources, sanitize, compiler=compiler, cache=cache)
    stdin = struct.pack("=II", *inputs.shape) + np.ascontiguousarray(inputs).tobytes()
    stdout = _run(executable, stdin, f"{sources.model} {sources.policy}", timeout_s)
    return np.frombuffer(stdout, np.uint8).reshape(len(inputs), -1)


def build_for_host(
    sources: Sources,
    sanitize: bool = True,
    *,
    compiler: Toolchain | None = None,
    cache: ContentCache | None = None,
) -> Path:
    """The executable that `run_on_host` runs; raises BuildError."""
    compiler = compiler or find_host_compiler()
    cache = cache or user_cache()
    arguments = (*_WARNINGS, *(_SANITIZED if sanitize else _FAST))
    files = (*sources.files, SourceFile(_MAIN.name, _MAIN.read_text()))
    objects = compile_objects(compiler, files, arguments, cache)
    return _linked(compiler, arguments, objects, cache)


def run_program(
    files: Sequence[SourceFile],
    *,
    compiler: Toolchain | None = None,
    cache: ContentCache | None = None,
    timeout_s: float = 60.0,
) -> str:
    """What a C program prints: its files compiled and run on this computer.

    Raises:
        BuildError: no compiler, it refuses the files, or the program fails.
    """
    compiler = compiler or find_host_compiler()
    cache = cache or user_cache()
    arguments = (*_WARNINGS, *_FAST, *_UNUSED_LEFT_OUT)
    objects = compile_objects(compiler, files, arguments, cache)
    link = (*arguments, "-Wl,-dead_strip" if "darwin" in compiler.machine else "-Wl,--gc-sections")
    executable = _linked(compiler, link, objects, cache)
    try:
        done = subprocess.run([executable], capture_output=True, text=True, timeout=timeout_s)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"{files[0].name} does not run on this computer: {error}.") from error
    if done.returncode != 0:
        raise BuildError(
            f"{files[0].name} failed on this computer, with exit code {done.returncode}."
        )
    return done.stdout


def _linked(
    compiler: Toolchain, arguments: Sequence[str], objects: Objects, cache: ContentCache
) -> Path:
    key = content_key("executable", compiler.banner, *arguments, *objects.keys)
    executable = cache.find(key)
    if executable is None:
        with tempfile.TemporaryDirectory(prefix="mcuq-host-") as name:
            made = Path(name) / "model"
            trust = () if "darwin" in compiler.machine else (_TRUST_LIBRARIES,)
            command = [compiler.path, *arguments, *trust, *objects.paths, "-o", made]
            run_tool([str(part) for part in command], Path(name), "link", _LINK_TIMEOUT_S)
            executable = cache.store(key, made)
    return executable


def _run(executable: Path, stdin: bytes, what: str, timeout_s: float) -> bytes:
    # Leaks are not looked for: the leak checker cannot run in a traced or restricted process.
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": ""}
    try:
        done = subprocess.run(
            [executable], input=stdin, capture_output=True, env=environment, timeout=timeout_s
        )
    except OSError as error:
        raise BuildError(f"The host build of {what} does not start: {error}.") from error
    except subprocess.TimeoutExpired as error:
        raise NumericsError(f"{what} did not end on the host in {timeout_s:g} s.") from error
    said = "\n".join(done.stderr.decode(errors="replace").strip().splitlines()[:30])
    if done.returncode == _EXIT_WRONG_SIZE:
        raise NumericsError(f"{what} was given inputs of a wrong size: {said}.")
    if done.returncode != 0:
        raise NumericsError(
            f"{what} broke off on the host (exit {done.returncode}); its C is wrong there:\n{said}"
        )
    return done.stdout
