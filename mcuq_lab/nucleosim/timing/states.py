"""Pipeline states as small numbers, which is how a simulator hands them on from block to block."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

STATE_LIMIT = 4096

State = TypeVar("State", bound=Hashable)


class States(Generic[State]):
    """The states that a model has given out, by number; the first one has number 0."""

    def __init__(self, first: State, limit: int = STATE_LIMIT) -> None:
        self._limit = limit
        self._states = [first]
        self._numbers = {first: 0}

    def number(self, state: State) -> int:
        """A small int for a state. A full table forgets the state: some stalls at most are lost."""
        number = self._numbers.get(state)
        if number is None:
            if len(self._states) >= self._limit:
                return 0
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
        return number

    def __getitem__(self, number: int) -> State:
        """The state of a number. Raises IndexError for one that was never given out."""
        return self._states[number]
