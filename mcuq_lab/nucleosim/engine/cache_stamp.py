"""Lets numba's cache see a change in any source file that compiled code depends on.

numba keeps a compiled function until the file that it stands in changes. Constants and functions
of other files are compiled into it, and would stay as they were.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from numba.core.caching import CacheImpl

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = ("engine", "peripherals", "timing")


@cache
def sources_digest() -> str:
    """A digest of all Python files that compiled code may draw from."""
    digest = hashlib.blake2b(digest_size=16)
    for folder in _FOLDERS:
        for path in sorted((_PACKAGE / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def watch_sources() -> None:
    """From now on, cached functions of this package are tied to the digest of its sources."""
    plain = CacheImpl._locator_classes
    if not any(issubclass(locator, _Watchful) for locator in plain):
        CacheImpl._locator_classes = [*map(_watchful, plain), *plain]


class _Watchful:
    """Mixed into each way that numba has of finding a place for its cache."""

    @classmethod
    def from_function(cls, py_func, py_file):
        """A locator for a function of this package; None for any other."""
        if _PACKAGE not in Path(py_file).resolve().parents:
            return None
        return super().from_function(py_func, py_file)

    def get_source_stamp(self):
        """What has to be the same for a cached function to be used."""
        return super().get_source_stamp(), sources_digest()


def _watchful(locator: type) -> type:
    return type(f"Watchful{locator.__name__}", (_Watchful, locator), {})
