"""What a running search tells the world: a small JSON file, replaced atomically."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mcuq_lab.results import write_atomically

FINAL_STATES = ("done", "stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Progress:
    """A search at one moment.

    Attributes:
        state: `starting`, `proposing`, `evaluating`, or one of `FINAL_STATES`; `interrupted` is
            what a reader concludes when the process is gone without a word.
        evaluations, total: how many rows there are and will be.
        hypervolume: of all rows so far, 0 before the reference is measured.
        failures: rows whose status is not `ok`.
        last: the last row in short: policy, status, accuracy, cycles, SRAM.
        elapsed_s: seconds of work so far.
        message: the error of a failed search.
        pid: of the search's process.
    """

    state: str
    evaluations: int = 0
    total: int = 0
    hypervolume: float = 0.0
    failures: int = 0
    last: dict = field(default_factory=dict)
    elapsed_s: float = 0.0
    message: str = ""
    pid: int = field(default_factory=os.getpid)

    @property
    def final(self) -> bool:
        return self.state in FINAL_STATES


def write_progress(run_dir: Path, progress: Progress) -> None:
    """Replaces the run's progress.json."""
    content = json.dumps(asdict(progress)).encode()
    write_atomically(run_dir / "progress.json", content, durable=False)


def read_progress(run_dir: Path) -> Progress | None:
    """The run's progress, or None before its first word."""
    try:
        return Progress(**json.loads((run_dir / "progress.json").read_text()))
    except FileNotFoundError:
        return None
