"""A tile of the halves: what its function is specialised by, and where its accumulators are."""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.liteengine.packing.halves import Field
from mcuq_lab.quantgraph import STORAGE_BITS

Register = str

ROW_BYTES = 32
"""What a part hands on: a word for each accumulator."""

FIRST = ("r6", "r8", "r10", "r12")
SECOND = ("r7", "r9", "r11", "lr")
WORDS = tuple(zip(FIRST, SECOND, strict=True))


@dataclass(frozen=True)
class HalvesTile:
    """What a tile function is specialised by; `le_halves_shape` in C.

    Attributes:
        pixels, channels, fields: of the packing.
        unroll: pairs of terms in one round of the loop.
        parts: segments of the terms.
        bytes: weights are byte pairs.
        surplus: their lower bytes hold more than the weight, and pixels say how much that is.
        out_bits, pre_shift, shift: of the requantization.
    """

    pixels: int
    channels: int
    fields: tuple[Field, ...]
    unroll: int
    parts: int
    bytes: bool
    surplus: bool
    out_bits: int
    pre_shift: int
    shift: int

    @property
    def storage(self) -> int:
        return STORAGE_BITS[self.out_bits]

    @property
    def lows(self) -> list[int]:
        """Where fields begin, in order."""
        return sorted(field.low for field in self.fields)

    @property
    def below_top(self) -> int:
        """Bits below the top field: what a part that is not the last one hands on."""
        return self.lows[-1]

    @property
    def narrowest_bits(self) -> int:
        """Of a field; what one part adds up fits any."""
        return min(field.bits for field in self.fields)

    @property
    def even_fields(self) -> int:
        """Mask of the fields 0 and 2 of four; shifted right by field 1, of the fields 1 and 3."""
        narrow = (1 << self.narrowest_bits) - 1
        return narrow | narrow << self.lows[2]

    @property
    def even_fields_are_channel_0(self) -> bool:
        """Whether there are four fields, channel by channel in turn."""
        ranks = sorted(self.fields, key=lambda field: field.low)
        return [field.channel for field in ranks] == [0, 1, 0, 1]

    @property
    def starts_over(self) -> bool:
        """Whether each part starts from 0 and hands on whole words, not only the lower field."""
        return self.bytes or len(self.fields) == 4

    @property
    def rows_bytes(self) -> int:
        """Of the stack, for what the parts before the last one hand on."""
        return ROW_BYTES * (self.parts - 1)

    @property
    def kept_bytes(self) -> int:
        """Of the stack, for the same as long as the function runs; whole words are pushed."""
        return 0 if self.starts_over else self.rows_bytes

    @property
    def keeps_pointer(self) -> bool:
        """Whether r0, the pixels, outlives the outputs."""
        return self.parts == 1 and len(self.fields) < 4

    @property
    def name(self) -> str:
        """Part of the tile function's name; different tiles have different names."""
        text = f"p{self.pixels}{'b' if self.bytes else f'q{self.channels}'}"
        text = "b" if self.surplus else text
        text += f"s{'_'.join(map(str, self.lows[1:]))}" if len(self.fields) > 1 else ""
        # Fields at the same places may lie pixel by pixel or channel by channel.
        text += "" if len(self.fields) < 4 or self.even_fields_are_channel_0 else "r"
        text += f"g{self.parts}" if self.parts > 1 else ""
        return f"{text}_u{self.unroll}_o{self.out_bits}p{self.pre_shift}h{self.shift}"
