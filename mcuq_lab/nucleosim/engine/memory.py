"""Memory that the host and the simulated core share."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np


class HostMemory:
    """A block of memory at a fixed host address, for a region at `start` in the chip.

    `bytes` is a writable view (uint8) of it; `address` is where it lies in this process.
    """

    def __init__(self, start: int, size_bytes: int, fill: int = 0) -> None:
        self.start = start
        self.size_bytes = size_bytes
        # An anonymous mapping is page-aligned, as Unicorn asks of host memory.
        self._mapping = mmap.mmap(-1, size_bytes)
        self.bytes = np.frombuffer(self._mapping, dtype=np.uint8)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._mapping))
        if fill:
            self.bytes[:] = fill

    @property
    def end(self) -> int:
        """First address behind the region."""
        return self.start + self.size_bytes

    def contains(self, address: int, size_bytes: int) -> bool:
        """Whether the whole range lies inside."""
        return self.start <= address and address + size_bytes <= self.end

    def read(self, address: int, size_bytes: int) -> bytes:
        """The bytes at `address`, which must lie inside."""
        offset = address - self.start
        return self.bytes[offset : offset + size_bytes].tobytes()

    def write(self, address: int, data: bytes) -> None:
        """Replace the bytes at `address`, which must lie inside."""
        offset = address - self.start
        self.bytes[offset : offset + len(data)] = np.frombuffer(data, dtype=np.uint8)
