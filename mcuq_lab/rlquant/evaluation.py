"""What the search needs of whoever evaluates policies: the board, or a stand-in in the tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.policy import Policy
from mcuq_lab.results import Row
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.planned import Planned
from mcuq_lab.rlquant.space import SearchSpace


class Evaluator(Protocol):
    """Evaluates policies of one network; what it says must follow from the policy alone.

    Attributes:
        graph: the float network.
        float_accuracy: its accuracy on the search's validation split, a fraction of 1.
        sysclk_hz: core clock of the board.
        board_sram_bytes, board_flash_bytes: what the board has.
    """

    graph: Graph
    float_accuracy: float
    sysclk_hz: int
    board_sram_bytes: int
    board_flash_bytes: int

    def evaluate(self, policy: Policy) -> Row:
        """One episode's end: trains, generates, builds, flashes, runs.

        A policy that does not fit, hangs or faults is a row with that status, not an exception.
        `evaluation`, `origin` and `elapsed_s` are filled in by the search.

        Raises:
            McuqError: nothing can be evaluated any more (no compiler, no such model).
        """

    def evaluate_many(self, policies: Sequence[Policy]) -> Iterator[Row]:
        """As `evaluate`, in the order of the policies; several boards work at the same time.

        Who has one board evaluates one policy each time that a row is asked for.
        """
        return map(self.evaluate, policies)

    def space(self) -> SearchSpace:
        """The policies that can be evaluated: all of the network's."""
        return SearchSpace(self.graph)

    def plan(self, policy: Policy) -> Planned | None:
        """What the engine says of the policy's costs, without a board; None if unknown."""

    def image_bytes(self, policy: Policy) -> int | None:
        """Flash of the policy's image, built without a board; None if unknown.

        Where there is a budget, the engine may give up speed to keep it.
        """

    def least_flash_bytes(self, policy: Policy) -> int | None:
        """About the flash of the policy's smallest image; None if all its images are alike."""

    def sensitivity(self) -> np.ndarray:
        """How much worse the network answers if one width alone is reduced, all others being 8.

        float64 of shape (L, 2, N_WIDTHS), in any unit that adds up; found without the board, once.
        The second side is that of the tensor that the layer reads, the same for all its readers.
        """

    def close(self) -> None:
        """Releases the board."""


def load_evaluator(config: SearchConfig) -> Evaluator:
    """Makes the evaluator that `config.evaluator` ("module:function") names.

    Raises:
        ConfigError: there is no such module or function.
    """
    module_name, _, function_name = config.evaluator.partition(":")
    try:
        function = getattr(import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"Evaluator '{config.evaluator}' cannot be imported ({error}); "
            'it must read "module:function".'
        ) from error
    return function(config)
