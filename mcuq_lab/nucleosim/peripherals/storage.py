"""A register block that keeps what is written to it; the base of those that do more."""

from __future__ import annotations

from mcuq_lab.nucleosim.chip import RegisterBlock


class Storage:
    """Word registers at `block.start`; smaller accesses are taken from and merged into words."""

    def __init__(self, block: RegisterBlock) -> None:
        self.block = block
        self._words: dict[int, int] = {}
        self.reset()

    def reset(self) -> None:
        """Every register back to its reset value."""
        self._words = dict(self.block.reset)

    def read(self, address: int, size: int) -> int:
        """Value of 1, 2 or 4 bytes at an absolute address."""
        offset = address - self.block.start
        return self.read_word(offset & ~3) >> 8 * (offset & 3) & ((1 << 8 * size) - 1)

    def write(self, address: int, size: int, value: int) -> None:
        """Write 1, 2 or 4 bytes at an absolute address."""
        offset = address - self.block.start
        if size < 4:
            shift = 8 * (offset & 3)
            mask = ((1 << 8 * size) - 1) << shift
            value = (self.read_word(offset & ~3) & ~mask) | (value << shift & mask)
        self.write_word(offset & ~3, value & 0xFFFFFFFF)

    def read_word(self, offset: int) -> int:
        """Value of one register."""
        return self._words.get(offset, 0)

    def write_word(self, offset: int, value: int) -> None:
        """Write one register."""
        self._words[offset] = value
