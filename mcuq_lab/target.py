"""What an engine generates code for: a core, and how much memory the network may take there."""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.board import Board


@dataclass(frozen=True)
class Target:
    """A core and the budgets of one network on it.

    Attributes:
        core: `cortex-m4` or `cortex-m7`; decides the order of instructions, never a result.
        arena_bytes: the arena may be at most as large, and then the network is as fast as it can
            be, with some layers in strips of rows if nothing else fits, or nothing else is as
            fast; None: an arena that is worth its bytes in cycles, with strips where they take
            next to no cycles.
        flash_bytes: code and constants of the network may take at most as much by the engine's
            estimate, which is within some percent of what is linked; `flash_fit.built_within` and
            what measures with it keep the budget of a whole image to the byte. None: any.
    """

    core: str = "cortex-m4"
    arena_bytes: int | None = None
    flash_bytes: int | None = None

    @staticmethod
    def of(board: Board, arena_bytes: int | None = None, flash_bytes: int | None = None) -> Target:
        """The core of `board`, and budgets, if there are some."""
        return Target(board.core, arena_bytes, flash_bytes)


DEFAULT_TARGET = Target()
