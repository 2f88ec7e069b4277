"""The fast way from pyOCD to the memory of a simulated board: blocks instead of AP registers."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyocd.core import exceptions
from pyocd.core.memory_interface import MemoryInterface

from mcuq_lab.nucleosim.engine.memory_map import BusError

if TYPE_CHECKING:
    from mcuq_lab.nucleosim.board import SimulatedBoard


class BoardMemory(MemoryInterface):
    """pyOCD's memory interface on a simulated board.

    `transfer` takes address and length of each access before it is made, and raises if the probe
    or the wire fails.
    """

    def __init__(self, board: SimulatedBoard, transfer: Callable[[int, int], None]) -> None:
        self._board = board
        self._transfer = transfer

    def read_memory(self, addr, transfer_size=32, now=True, **_attributes):
        """One word, halfword or byte; with `now` false, a function that returns it."""
        value = int.from_bytes(self._read(addr, transfer_size // 8), "little")
        return value if now else lambda: value

    def write_memory(self, addr, data, transfer_size=32, **_attributes) -> None:
        """One word, halfword or byte."""
        self._write(addr, data.to_bytes(transfer_size // 8, "little"))

    def read_memory_block32(self, addr, size, **_attributes) -> Sequence[int]:
        """`size` words."""
        return memoryview(self._read(addr, 4 * size)).cast("I").tolist()

    def write_memory_block32(self, addr, data, **_attributes) -> None:
        """Words."""
        self._write(addr, array.array("I", data).tobytes())

    def read_memory_block8(self, addr, size, **_attributes) -> Sequence[int]:
        """`size` bytes."""
        return list(self._read(addr, size))

    def write_memory_block8(self, addr, data, **_attributes) -> None:
        """Bytes."""
        self._write(addr, bytes(data))

    def _read(self, address: int, size_bytes: int) -> bytes:
        self._transfer(address, size_bytes)
        with _bus_errors(address, size_bytes):
            return self._board.read(address, size_bytes)

    def _write(self, address: int, data: bytes) -> None:
        self._transfer(address, len(data))
        with _bus_errors(address, len(data)):
            self._board.write(address, data)


@contextmanager
def _bus_errors(address: int, size_bytes: int) -> Iterator[None]:
    try:
        yield
    except BusError as error:
        raise exceptions.TransferFaultError(fault_address=address, length=size_bytes) from error
