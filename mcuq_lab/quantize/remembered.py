"""Values that are kept as long as there is memory for them, those used last before all others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Remembered(Generic[Value]):
    """Values by key, of at most `limit_bytes` together; what was used longest ago goes first.

    Keys are digests of all that a value depends on, so a value never becomes wrong, only useless.

    Args:
        limit_bytes: 0 remembers nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._values: dict[bytes, tuple[Value, int]] = {}  # those used last at its end

    @property
    def size_bytes(self) -> int:
        """Of all values together."""
        return sum(size for _, size in self._values.values())

    def known(self, keys: Mapping[str, bytes]) -> set[str]:
        """The names of those of `keys` whose values there are."""
        return {name for name, key in keys.items() if key in self._values}

    def of(self, keys: Mapping[str, bytes]) -> dict[str, Value]:
        """The values of `keys`, which must be known, by name."""
        return {name: self._values[key][0] for name, key in keys.items()}

    def make_room(self, sizes_bytes: Mapping[bytes, int]) -> set[bytes]:
        """Drops values until those of `sizes_bytes`, used from the first to the last, fit.

        Returns:
            The keys whose values are, or are to be, remembered: all, or the last ones.
        """
        for key in sizes_bytes:
            if key in self._values:
                self._values[key] = self._values.pop(key)
        sizes = {key: size for key, (_, size) in self._values.items() if key not in sizes_bytes}
        sizes |= sizes_bytes
        total = sum(sizes.values())
        for key, size in list(sizes.items()):
            if total <= self._limit_bytes:
                break
            total -= size
            del sizes[key]
            self._values.pop(key, None)
        return set(sizes) & set(sizes_bytes)

    def remember(self, key: bytes, value: Value, size_bytes: int) -> None:
        """Keeps a value for which there is room (`make_room`)."""
        self._values[key] = (value, size_bytes)
