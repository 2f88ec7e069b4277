"""Flash contents that outlive a process: one file for each simulated board."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs


def default_directory() -> Path:
    """The user's cache directory for simulated boards."""
    return Path(platformdirs.user_cache_dir("nucleosim", appauthor=False))


def flash_file(directory: Path, unique_id: str) -> Path:
    """Where the flash of a board is kept."""
    return directory / (unique_id.replace(":", "_") + ".flash")


def load(path: Path) -> bytes | None:
    """The stored contents; None if there are none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def save(path: Path, image: bytes) -> None:
    """Store contents in one step: another process sees the old ones or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(image)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
