"""Functions that numba compiles, kept from one process to the next.

Numba's own cache looks at the file that a function stands in. Ours also hold constants and
functions of other files, so they are kept in a directory that is named by the contents of all.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numba
import platformdirs

_PACKAGE = Path(__file__).resolve().parent.parent
_SOURCES = ("engine/*.py", "peripherals/*.py", "timing/cost.py")
_UNUSED_DAYS = 30
_DAY_S = 86400


def compiled(function: Callable) -> Callable:
    """Decorator: `numba.njit`, kept."""
    with _kept():
        return numba.njit(cache=True)(function)


def callback(signature) -> Callable:
    """Decorator: `numba.cfunc`, kept."""

    def decorate(function: Callable) -> Callable:
        with _kept():
            return numba.cfunc(signature, cache=True)(function)

    return decorate


@contextlib.contextmanager
def _kept() -> Iterator[None]:
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_directory())
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before


@cache
def _directory() -> Path:
    """Where the compiled functions of just these sources are; what was long unused is removed."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    everything = Path(platformdirs.user_cache_dir("nucleosim", appauthor=False)) / "compiled"
    directory = everything / digest.hexdigest()[:16]
    if not directory.is_dir() and everything.is_dir():
        oldest = time.time() - _UNUSED_DAYS * _DAY_S
        for other in everything.iterdir():
            if other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)
    return directory
