"""Checkpoints: the batch under way and the method's state, saved after each `ask`.

Rows are the record of what happened; a checkpoint only spares the replay of how the method got
there. After a crash the search restores the newest one, answers the part of its batch that has rows
from those rows, and measures the rest: nothing is lost, nothing is counted twice. Without any
checkpoint a search starts its method anew and replays all rows, which ends in the same state.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import write_atomically
from mcuq_lab.rlquant.methods import Proposal

_MAGIC = b"mcuq checkpoint 1\n"
_KEPT = 2


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A method's state right after it proposed `batch`, `n_rows` rows into the run."""

    n_rows: int
    batch: tuple[Proposal, ...]
    state: object


def save_checkpoint(run_dir: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint atomically and removes all but the last two; returns its path."""
    payload = pickle.dumps(
        (
            checkpoint.n_rows,
            [(p.bits.tolist(), p.origin) for p in checkpoint.batch],
            checkpoint.state,
        ),
        protocol=5,
    )
    digest = hashlib.sha256(payload).hexdigest().encode()
    earlier = _checkpoints(run_dir)
    number = int(earlier[-1].stem.removeprefix("checkpoint-")) + 1 if earlier else 0
    path = run_dir / "checkpoints" / f"checkpoint-{number:06d}.pkl"
    write_atomically(path, _MAGIC + digest + b"\n" + payload)
    for old in _checkpoints(run_dir)[:-_KEPT]:
        old.unlink()
    return path


def load_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The newest checkpoint, or None if there is none.

    Raises:
        ConfigError: the newest checkpoint is damaged or of another version.
    """
    paths = _checkpoints(run_dir)
    if not paths:
        return None
    content = paths[-1].read_bytes()
    magic, digest, payload = (
        content[: len(_MAGIC)],
        content[len(_MAGIC) : len(_MAGIC) + 64],
        content[len(_MAGIC) + 65 :],
    )
    if magic != _MAGIC or hashlib.sha256(payload).hexdigest().encode() != digest:
        raise _damaged(paths, "its checksum is wrong")
    try:
        n_rows, batch, state = pickle.loads(payload)
    except Exception as error:
        raise _damaged(paths, f"it was written by other versions: {error}") from error
    proposals = tuple(Proposal(np.array(bits, dtype=np.int8), origin) for bits, origin in batch)
    return Checkpoint(n_rows, proposals, state)


def _checkpoints(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "checkpoints").glob("checkpoint-*.pkl"))


def _damaged(paths: list[Path], why: str) -> ConfigError:
    where_next = (
        f"go on from {paths[-2].name}" if len(paths) > 1 else "replay the run's rows from its start"
    )
    return ConfigError(
        f"Checkpoint {paths[-1]} is unusable ({why}). No row is lost: delete this file and resume; "
        f"the search will {where_next}."
    )
