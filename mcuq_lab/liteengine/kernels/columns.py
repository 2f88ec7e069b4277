"""Constants of a layer's channels, in two bytes each where the layer's range allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mcuq_lab.liteengine.ctext import c_array
from mcuq_lab.quantgraph import Requantize

COLUMN_BYTES = 12
"""Of the structure that describes a column."""


def padded_offsets(offset: np.ndarray, missing: int) -> np.ndarray:
    """Offsets of a requantization, and behind them `missing` channels' that yield 0 with a
    multiplier of 0."""
    return np.pad(offset, (0, missing), constant_values=min(0, int(offset.min())))


def padded_constants(requantize: Requantize, missing: int) -> Requantize:
    """A requantization with `missing` more channels that yield 0."""
    return replace(
        requantize,
        start=np.pad(requantize.start, (0, missing)),
        multiplier=np.pad(requantize.multiplier, (0, missing)),
        offset=padded_offsets(requantize.offset, missing),
    )


@dataclass(frozen=True, eq=False)
class Column:
    """`le_column` of the C runtime.

    Attributes:
        name: C identifier of the array.
        values: of each channel, 32 bits; may be empty.
    """

    name: str
    values: np.ndarray

    @cached_property
    def base(self) -> int:
        """What is stored is the difference to this, the lowest value."""
        return int(self.values.min()) if self.values.size else 0

    @cached_property
    def number_bytes(self) -> int:
        """Of each value: 2 or 4; 0 for an empty column."""
        if not self.values.size:
            return 0
        return 2 if int(self.values.max()) - self.base < 1 << 16 else 4

    @property
    def size_bytes(self) -> int:
        """In flash."""
        return self.number_bytes * self.values.size

    @property
    def declaration(self) -> str:
        """The array in C."""
        if not self.values.size:
            return ""
        c_type = f"uint{8 * self.number_bytes}_t"
        numbers = self.values.astype(np.int64) - self.base
        return c_array(c_type, self.name, numbers, self.number_bytes)

    @property
    def fields(self) -> Mapping[str, int | str]:
        """Initialisers of the structure."""
        at = self.name if self.values.size else "0"
        return {"at": at, "base": self.base, "bytes": self.number_bytes}
