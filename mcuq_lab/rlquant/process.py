"""A search in a process of its own, so that a notebook's kernel can die, detach and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import RUNS_DIR, read_run_info
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.progress import Progress, read_progress
from mcuq_lab.rlquant.search import new_run

_POLL_S = 0.2
_START_TIMEOUT_S = 60.0


def start(config: SearchConfig, *, command: str = "", root: Path = RUNS_DIR) -> Path:
    """Starts a new search in the background; returns its run directory at once."""
    run_dir = new_run(config, command=command, root=root)
    _spawn(run_dir)
    return run_dir


def resume(run_dir: Path) -> Path:
    """Goes on with an interrupted or stopped search in the background.

    Raises:
        ConfigError: the directory is no run, or a process is at work on it.
    """
    read_run_info(run_dir)
    if is_running(run_dir):
        raise ConfigError(f"{run_dir.name} is running already; attach to it instead.")
    _spawn(run_dir)
    return run_dir


def is_running(run_dir: Path) -> bool:
    """Whether a process holds the run."""
    lock = FileLock(run_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def attach(run_dir: Path, poll_s: float = _POLL_S) -> Iterator[Progress]:
    """Follows a search: yields its progress at every change, last in a final state.

    Closing the iterator, or an interrupt in a notebook, detaches and leaves the search alone. If
    the process is gone without a word, the last state is `interrupted`: resume it.
    """
    read_run_info(run_dir)
    last = None
    while True:
        running = is_running(run_dir)
        progress = read_progress(run_dir)
        if progress is not None and not progress.final and not running:
            progress = read_progress(run_dir)
            if not progress.final:
                progress = replace(progress, state="interrupted")
        if progress is not None and progress != last:
            yield progress
            last = progress
        if progress is None and not running:
            raise ConfigError(f"{run_dir.name} was never started; resume it.")
        if progress is not None and progress.final:
            return
        time.sleep(poll_s)


def stop(run_dir: Path, timeout_s: float = 120.0) -> None:
    """Ends a search after the evaluation under way; kills it if it does not react in time.

    Either way the search can be resumed.
    """
    progress = read_progress(run_dir)
    if progress is None or not is_running(run_dir):
        return
    os.kill(progress.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while is_running(run_dir):
        if time.monotonic() > deadline:
            os.kill(progress.pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _spawn(run_dir: Path) -> None:
    """Starts the process and waits until it holds the run, or has ended."""
    with (run_dir / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mcuq_lab.rlquant.run", str(run_dir)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and not is_running(run_dir) and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() not in (None, 0):
        tail = (run_dir / "log.txt").read_text()[-2000:]
        raise ConfigError(f"The search in {run_dir} could not start:\n{tail}")
