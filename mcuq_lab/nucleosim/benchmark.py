"""How fast simulated boards are for who uses them through pyOCD: seconds of this computer.

The process should have opened a session before: the first one imports the engine and links the
compiled hooks. A busy computer shows in the result, the fewer repetitions the more.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.flash.loader import FlashLoader

from mcuq_lab.nucleosim.chip import load_chip
from mcuq_lab.nucleosim.registry import PREFIX, discard_board

FLASH_BYTES = 200 * 1024

_numbers = itertools.count()


def session_open_s(board: str = "nucleo-f412zg", repetitions: int = 5) -> float:
    """Opening a session on a new board, from finding its probe to a core that can be halted.

    Args:
        board: which kind.
        repetitions: the shortest of so many counts.
    """
    return min(_on_new_board(board, Session.open) for _ in range(repetitions))


def flash_200kb_s(board: str = "nucleo-f412zg", repetitions: int = 3) -> float:
    """Erasing and programming 200 KB of noise in an open session, with pyOCD's flash algorithm.

    Args:
        board: which kind; its flash must hold as much.
        repetitions: the shortest of so many counts.
    """
    data = random.Random(0).randbytes(FLASH_BYTES)
    start = load_chip(board).flash.start

    def flash(session: Session) -> None:
        FlashLoader.program_binary_data(session, start, data)

    return min(_on_new_board(board, flash, opened=True) for _ in range(repetitions))


def _on_new_board(board: str, work: Callable[[Session], None], opened: bool = False) -> float:
    """Seconds of `work` with a session on a board of its own."""
    uid = f"{PREFIX}{board}:benchmark{next(_numbers)}"
    started = time.perf_counter()
    session = ConnectHelper.session_with_chosen_probe(
        blocking=False,
        return_first=True,
        unique_id=uid,
        options={"hide_programming_progress": True, "auto_unlock": False, "no_config": True},
    )
    try:
        if opened:
            session.open()
            # pyOCD parses a description of the chip's registers meanwhile, in a thread that holds
            # the interpreter: flashing is what is to be timed, so wait for it.
            _ = session.target.svd_device
            started = time.perf_counter()
        work(session)
        return time.perf_counter() - started
    finally:
        session.close()
        discard_board(uid)
