"""The simulated boards of this process, by the unique id of their probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcuq_lab.nucleosim.chip import board_ids, load_chip

if TYPE_CHECKING:
    from mcuq_lab.nucleosim.board import SimulatedBoard

PREFIX = "sim:"

_boards: dict[str, SimulatedBoard] = {}


def simulated_board(unique_id: str) -> SimulatedBoard:
    """The board with a probe's unique id; made, with erased flash, when first asked for.

    `sim:nucleo-f412zg` is one board; any text after a further colon makes it another one of the
    same kind (`sim:nucleo-f412zg:1`). A board keeps its state until the process ends.

    Raises:
        UnknownBoardError: no such kind of board.
    """
    from mcuq_lab.nucleosim.board import SimulatedBoard  # the engine takes a second to import

    key = normal_id(unique_id)
    if key not in _boards:
        _boards[key] = SimulatedBoard(load_chip(board_kind(key)))
    return _boards[key]


def existing_board(unique_id: str) -> SimulatedBoard | None:
    """The board if it has been used in this process."""
    return _boards.get(normal_id(unique_id))


def discard_board(unique_id: str) -> None:
    """Throw a board away; the next use of its id gets a new one."""
    _boards.pop(normal_id(unique_id), None)


def normal_id(unique_id: str) -> str:
    """The unique id with its prefix, in lower case."""
    unique_id = unique_id.lower()
    return unique_id if unique_id.startswith(PREFIX) else PREFIX + unique_id


def board_kind(unique_id: str) -> str:
    """The kind of board that a unique id names: `nucleo-f412zg` of `sim:nucleo-f412zg:1`."""
    return normal_id(unique_id).split(":")[1]


def known_ids() -> tuple[str, ...]:
    """One unique id for each kind of board, and those of the boards in use."""
    return tuple(dict.fromkeys([*(PREFIX + kind for kind in board_ids()), *_boards]))
