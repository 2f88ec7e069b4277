"""Tuning on a board: kernels' cycles, measured once and kept in the user's cache directory.

What decides cycles beside the kernel itself is the *setting*: board, clock and wait states, timing
model of a simulated board, compiler and its flags. Each setting has a folder of parts, one a board
run, each written at once and under a name of its own; so tuning can be interrupted at any time, and
several processes can tune and read the same folder.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import platformdirs

from mcuq_lab import liteengine
from mcuq_lab.bench import BoardSession, BuildFlags, Toolchain, build, find_toolchain
from mcuq_lab.content_cache import content_key
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.results import write_atomically
from mcuq_lab.sources import Sources
from mcuq_lab.target import Target

_FORMAT = "mcuq tuning 1"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TuningTable:
    """Measured cycles of one setting.

    Attributes:
        directory: of its parts; made when the first one is written.
        setting: for people who look into a part.
    """

    directory: Path
    setting: Mapping[str, str]

    def read(self) -> Mapping[str, int]:
        """Cycles by `liteengine.kernel_key`; empty where nothing was measured yet."""
        return _read(tuple(sorted(self.directory.glob("*.json"))))

    def add(self, cycles: Mapping[str, int]) -> None:
        """Writes what one board run measured as a new part."""
        self.directory.mkdir(parents=True, exist_ok=True)
        part = {"setting": self.setting, "cycles": cycles}
        path = self.directory / f"{uuid.uuid4().hex}.json"
        write_atomically(path, (json.dumps(part, indent=1) + "\n").encode(), durable=False)


def tables_directory() -> Path:
    """Where all tables of this user lie."""
    return platformdirs.user_cache_path("mcuq") / "tuning"


@lru_cache(maxsize=8)
def _read(parts: tuple[Path, ...]) -> Mapping[str, int]:
    cycles: dict[str, int] = {}
    for path in parts:  # a part never changes
        try:
            cycles |= json.loads(path.read_text())["cycles"]
        except (OSError, ValueError, KeyError) as error:
            log.warning("%s is no part of a tuning table (%s); left out.", path, error)
    return cycles


def tuning_table(
    session: BoardSession,
    toolchain: Toolchain | None = None,
    flags: BuildFlags | None = None,
    root: Path | None = None,
) -> TuningTable:
    """The table of an open board's setting.

    Args:
        session: an open board.
        toolchain, flags: as for `bench.build`.
        root: where tables lie; default: the user's cache directory.

    Raises:
        BuildError: there is no compiler.
    """
    setting = {
        "board": session.board.id,
        "core": session.board.core,
        "clock": f"{session.clock.sysclk_hz} Hz, {session.clock.flash_wait_states} wait states",
        "timing_model": session.timing_model,
        "compiler": (toolchain or find_toolchain()).banner,
        "flags": (flags or BuildFlags()).text(session.board),
    }
    root = root or tables_directory()
    name = f"{session.board.id}-{content_key(_FORMAT, *setting.values())[:16]}"
    return TuningTable(root / name, setting)


@dataclass(frozen=True)
class TuningStep:
    """After one board run: trials measured so far, and known to be left."""

    measured: int
    left: int


def tune_on_board(
    network: QuantGraph,
    session: BoardSession,
    table: TuningTable | None = None,
    target: Target | None = None,
) -> Iterator[TuningStep]:
    """Measures every way worth trying to compute the layers of a network; a step each board run.

    What is measured is in the table by then; a network whose ways are all known gives no step.

    Args:
        network: the integer network.
        session: an open board.
        table: where to write; default: that of the board's setting.
        target: the board's core, with budgets; None: without any.

    Raises:
        BuildError, FitError, BoardError: what the board's stages raise.
    """

    def run(sources: Sources) -> tuple[int, ...]:
        firmware = build(sources, session.board)
        nothing = np.zeros((1, firmware.model.input_bytes), np.uint8)
        return session.run(firmware, nothing).layer_cycles

    table = table or tuning_table(session)
    target = target or Target.of(session.board)
    known, measured = dict(table.read()), 0
    while left := liteengine.trials(network, known, target=target):
        for batch in liteengine.batches(left):
            cycles = liteengine.measure_batch(batch, run)
            table.add(cycles)
            known |= cycles
            measured += len(batch)
            yield TuningStep(measured, sum(trial.key not in known for trial in left))
