"""Writes an image to flash, and counts what that costs the flash."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from pyocd.core.session import Session
from pyocd.core.target import Target
from pyocd.flash.builder import FlashBuilder
from pyocd.flash.loader import MemoryLoader
from pyocd.utility.notification import Notification

from mcuq_lab.bench.image import Segment


@dataclass(frozen=True)
class FlashReport:
    """What one flashing did.

    Attributes:
        sectors_erased: erase cycles spent; an STM32 sector endures 10,000 (data sheets, flash
            endurance).
        bytes_written, bytes_kept: what differed from the flash's contents, and what did not.
        seconds: wall time.
    """

    sectors_erased: int
    bytes_written: int
    bytes_kept: int
    seconds: float


NOTHING_FLASHED = FlashReport(0, 0, 0, 0.0)


def program(session: Session, segments: Sequence[Segment]) -> FlashReport:
    """Programs those pages that differ; pyOCD's errors pass through."""
    started = time.perf_counter()
    builders: list[FlashBuilder] = []

    def note(notification: Notification) -> None:
        builders.append(notification.source)

    loader = MemoryLoader(session)
    for segment in segments:
        loader.add_data(segment.address, segment.data)
    session.subscribe(note, Target.Event.POST_FLASH_PROGRAM)
    try:
        loader.commit()
    finally:
        session.unsubscribe(note, Target.Event.POST_FLASH_PROGRAM)
    done = [builder.get_performance() for builder in builders]
    return FlashReport(
        sectors_erased=sum(info.erase_sector_count for info in done),
        bytes_written=sum(info.program_byte_count for info in done),
        bytes_kept=sum(info.skipped_byte_count for info in done),
        seconds=time.perf_counter() - started,
    )


def erase_count(uid: str, directory: Path | None = None) -> int:
    """Sectors of the board on probe `uid` that were ever erased from this computer."""
    path = _count_path(uid, directory)
    try:
        return int(json.loads(path.read_text())["sectors_erased"])
    except FileNotFoundError:
        return 0


def add_to_erase_count(uid: str, sectors: int, directory: Path | None = None) -> int:
    """Adds to the board's count and returns the sum; the caller must hold the probe alone."""
    total = erase_count(uid, directory) + sectors
    path = _count_path(uid, directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"probe": uid, "sectors_erased": total}))
    os.replace(new, path)
    return total


def _count_path(uid: str, directory: Path | None) -> Path:
    directory = directory or platformdirs.user_data_path("mcuq") / "boards"
    return directory / f"{re.sub(r'[^A-Za-z0-9_-]', '_', uid)}.json"
