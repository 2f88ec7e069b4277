"""A store of files that take a while to make, addressed by the content they were made from.

One file an entry, named by the SHA-256 of everything that went into it. Entries appear by rename,
so several processes may read and write one store at the same time without locks: the worst that
can happen is that two of them make the same file and one of the results wins.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import platformdirs

DEFAULT_LIMIT_BYTES = 1 << 30

# A store is measured once in so many new entries: walking it costs more than writing one.
_PUTS_BETWEEN_SWEEPS = 200

# Another process may have been given the path of an entry and be about to link it.
_GRACE_S = 600.0


def content_key(*parts: str | bytes) -> str:
    """SHA-256 of all parts, each preceded by its length so that no two lists run together."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


@dataclass(frozen=True)
class ContentCache:
    """A directory of files named by content key.

    Attributes:
        directory: where the entries lie; made when the first one is stored.
        limit_bytes: size above which the entries not used for longest are removed.
        grace_s: age since last use below which an entry is never removed.
    """

    directory: Path
    limit_bytes: int = DEFAULT_LIMIT_BYTES
    grace_s: float = _GRACE_S

    def path_of(self, key: str) -> Path:
        """Where the entry lies, or would lie."""
        return self.directory / key[:2] / key

    def find(self, key: str) -> Path | None:
        """The entry's path, marked as just used; None if there is none."""
        path = self.path_of(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def store(self, key: str, made: Path) -> Path:
        """Copies the file `made` into the store (atomically) and returns the entry's path."""
        path = self.path_of(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(made.read_bytes())
            os.chmod(name, made.stat().st_mode & 0o777)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise
        # The key is a uniform hash: this is "once in so many puts", over all processes together.
        if int(key[:8], 16) % _PUTS_BETWEEN_SWEEPS == 0:
            self.sweep()
        return path

    def sweep(self) -> int:
        """Removes the entries not used for longest until the rest fits; returns bytes removed."""
        entries = []
        for path in self.directory.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                entries.append((status.st_mtime, status.st_size, path))
        excess_bytes = sum(size for _, size, _ in entries) - self.limit_bytes
        removed_bytes = 0
        youngest_to_remove = time.time() - self.grace_s
        for used_at, size, path in sorted(entries):
            if removed_bytes >= excess_bytes or used_at > youngest_to_remove:
                break
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                removed_bytes += size
        return removed_bytes


def user_cache(limit_bytes: int = DEFAULT_LIMIT_BYTES, kind: str = "objects") -> ContentCache:
    """The store of one kind in the user's cache directory, which all runs on this machine share."""
    return ContentCache(platformdirs.user_cache_path("mcuq") / kind, limit_bytes)
