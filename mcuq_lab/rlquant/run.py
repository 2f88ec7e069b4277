"""The search's own process: `python -m mcuq_lab.rlquant.run <run directory>`.

Writes rows, checkpoints and progress.json into the run directory, log lines to stderr, and nothing
to stdout. SIGTERM ends it after the evaluation under way. Exit code 0 when done or stopped, 2 for a
mistake of the user's, 1 for a failure.
"""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path

from mcuq_lab.errors import ConfigError, McuqError
from mcuq_lab.rlquant.search import run_search


def main(arguments: list[str] | None = None) -> int:
    """Runs or resumes the search of one run directory; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 1:
        print("usage: python -m mcuq_lab.rlquant.run <run directory>", file=sys.stderr)
        return 2
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s"
    )
    logging.getLogger("mcuq").setLevel(logging.INFO)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    try:
        run_search(Path(arguments[0]).resolve(), should_stop=lambda: bool(stopping))
    except McuqError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
