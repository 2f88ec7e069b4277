"""Where a run's results live, and how they survive a power cut.

    results/runs/<UTC date>-<model>-<board>-<method>-<id>/
        run.json                     whole configuration and provenance; can start the run again
        measurements/part-*.parquet  rows, a file for each append, never rewritten
        checkpoints/  figures/
        finals/                      policies trained in full afterwards: measurements/, and a
                                     folder for each with its state and its C

A part is written under a temporary name, flushed to the disk and renamed: whoever reads the folder
(pandas, DuckDB, a notebook) sees whole parts only, while the run goes on and after it was killed.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mcuq_lab.errors import ConfigError
from mcuq_lab.results.schema import SCHEMA, Row, from_table, to_table

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS_DIR = REPOSITORY / "results" / "runs"
FINALS = "finals"
"""Folder of a run that is read like one, with rows of the policies that were trained in full."""

_PACKAGES = (
    "mcuq-lab", "moocore", "numpy", "optuna", "pyarrow", "pymoo", "pyocd", "ray", "scikit-learn",
    "scipy", "torch", "unicorn",
)  # fmt: skip


@dataclass(frozen=True)
class RunInfo:
    """What `run.json` holds: enough to judge a run's rows, and to start it again.

    Attributes:
        id: name of the run's directory.
        kind: what made the rows: `search`, `measure`, ...
        config: the whole configuration, as plain JSON.
        bench: board, probe, clock, compiler, flags, timing model, as far as known at the start.
        git_revision: commit of the sources; `git_dirty` whether they were changed since.
    """

    id: str
    kind: str
    model: str
    data: str
    board: str
    method: str
    seed: int
    config: Mapping
    bench: Mapping
    command: str = ""
    created_utc: str = ""
    git_revision: str = ""
    git_dirty: bool | None = None
    python: str = ""
    machine: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)


def create_run(
    *,
    kind: str,
    model: str,
    data: str,
    board: str,
    method: str,
    seed: int,
    config: Mapping,
    bench: Mapping | None = None,
    command: str = "",
    root: Path = RUNS_DIR,
) -> Path:
    """Makes a new run directory with its run.json; returns its path."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d}-{model}-{board}-{method}-{secrets.token_hex(3)}"
    run_dir = root / run_id
    (run_dir / "measurements").mkdir(parents=True)
    (run_dir / "checkpoints").mkdir()
    (run_dir / "figures").mkdir()
    info = RunInfo(
        id=run_id,
        kind=kind,
        model=model,
        data=data,
        board=board,
        method=method,
        seed=seed,
        config=config,
        bench=bench or {},
        command=command,
        **provenance(),
    )
    _write_run_info(run_dir, info)
    return run_dir


def reconfigure_run(run_dir: Path, config: Mapping) -> None:
    """Gives a run another configuration, which its later rows follow; ConfigError as below."""
    _write_run_info(run_dir, replace(read_run_info(run_dir), config=config))


def _write_run_info(run_dir: Path, info: RunInfo) -> None:
    write_atomically(run_dir / "run.json", (json.dumps(asdict(info), indent=2) + "\n").encode())


def read_run_info(run_dir: Path) -> RunInfo:
    """The run's run.json; raises ConfigError if the directory is no run, or the file is damaged."""
    path = run_dir / "run.json"
    if not path.is_file():
        raise ConfigError(
            f"{run_dir} is not a run: it has no run.json. Runs lie under {RUNS_DIR}; "
            "name one of its directories."
        )
    try:
        return RunInfo(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}). Its rows are safe in {run_dir / 'measurements'}; "
            "restore run.json from a backup, or start a new run."
        ) from error


def append_rows(run_dir: Path, rows: Iterable[Row]) -> Path:
    """Adds rows as one new part, atomically; returns its path. One writer at a time."""
    folder = run_dir / "measurements"
    parts = _parts(run_dir)
    number = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
    path = folder / f"part-{number:06d}.parquet"
    sink = pa.BufferOutputStream()
    pq.write_table(to_table(rows), sink)
    write_atomically(path, sink.getvalue().to_pybytes())
    return path


def read_rows(run_dir: Path) -> list[Row]:
    """All rows of a run, in the order in which they were written.

    Raises:
        ConfigError: a part is damaged; the message names it.
    """
    return [row for part in _parts(run_dir) for row in from_table(_read_part(part))]


def read_frame(run_dir: Path) -> pd.DataFrame:
    """All rows of a run as a DataFrame; `policy` holds tuples of (w_bits, a_bits).

    Raises:
        ConfigError: a part is damaged; the message names it.
    """
    tables = [_read_part(part) for part in _parts(run_dir)]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    frame = table.to_pandas()
    frame["policy"] = [
        tuple((pair["w_bits"], pair["a_bits"]) for pair in policy) for policy in frame["policy"]
    ]
    return frame


def read_frames(run_dirs: Iterable[Path]) -> pd.DataFrame:
    """Rows of several runs in one DataFrame, with columns `run`, `method` and `seed` besides."""
    frames = []
    for run_dir in run_dirs:
        info = read_run_info(run_dir)
        frames.append(read_frame(run_dir).assign(run=info.id, method=info.method, seed=info.seed))
    return pd.concat(frames, ignore_index=True) if frames else SCHEMA.empty_table().to_pandas()


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that a reader sees all of it or nothing.

    Durable: so does a reader after a power cut (costs some milliseconds of waiting for the disk).
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with scratch.open("wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(scratch, path)
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parts(run_dir: Path) -> list[Path]:
    return sorted((run_dir / "measurements").glob("part-*.parquet"))


def _read_part(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(
            f"Part {path} is damaged ({error}). The other parts are whole: move this one out of "
            "the folder to read the rest; a resumed search measures its policies again."
        ) from error


def provenance() -> dict:
    """What made a result on this computer: time, git revision, Python, packages, machine."""
    revision, dirty = _git_state()
    return {
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_revision": revision,
        "git_dirty": dirty,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "packages": _versions(),
    }


def _git_state() -> tuple[str, bool | None]:
    """The commit, and whether anything but results was changed since."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=10
        )
        done.check_returncode()
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ".", ":!results")
        return git("rev-parse", "HEAD"), bool(changed)
    except (OSError, subprocess.SubprocessError):
        return "unknown", None


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
