"""The twin of boards/common/mcuq_mailbox.h: what the host asks, what the firmware answers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mcuq_lab.bench.image import Image

SYMBOL = "mcuq_mailbox"
MAGIC = 0x5143554D
VERSION = 1
CHECKSUM_FACTOR = 0x9E3779B1

_REQUEST = struct.Struct("<8I")
_REPLY = struct.Struct("<11IQ8I")
SIZE_BYTES = _REPLY.size


# The harness paints in turn with these; see boards/common/mcuq_harness.c.
PAINTS = (0xA5, 0x5A)


class Command(IntEnum):
    """What the host asks for."""

    RUN = 1
    PROFILE = 2
    CHECK = 3


class Status(IntEnum):
    """What the firmware answers."""

    NEW = 0
    DONE = 1
    REFUSED = 2
    FAULT = 3


@dataclass(frozen=True)
class Request:
    """A command and its arguments; addresses of 0 as in the C header."""

    command: Command
    count: int = 1
    inputs: int = 0
    outputs: int = 0
    cycles: int = 0

    def pack(self) -> bytes:
        """The first bytes of the mailbox; the fields behind them stay as they are."""
        return _REQUEST.pack(
            MAGIC,
            VERSION,
            self.command,
            self.count,
            self.inputs,
            self.outputs,
            self.cycles,
            Status.NEW,
        )


@dataclass(frozen=True)
class FaultRegisters:
    """The core's fault registers, and the stacked registers, when a fault was taken.

    `pc`, `lr` and `xpsr` are 0 when the stack pointer had left the stack.
    """

    cfsr: int
    hfsr: int
    mmfar: int
    bfar: int
    sp: int
    pc: int
    lr: int
    xpsr: int


@dataclass(frozen=True)
class Reply:
    """What the firmware wrote; which fields are valid depends on the command."""

    status: int
    arena_touched_bytes: int
    stack_bytes: int
    overhead_cycles: int
    checksum: int
    fault: FaultRegisters


def unpack_reply(data: bytes) -> Reply:
    """Reads a whole mailbox of SIZE_BYTES."""
    fields = _REPLY.unpack(data)
    status, arena_touched, stack, overhead, checksum = fields[7:12]
    return Reply(status, arena_touched, stack, overhead, checksum, FaultRegisters(*fields[12:]))


def image_checksum(image: Image) -> int:
    """What CHECK answers when the flash holds `image`: a polynomial of its words, modulo 2^64."""
    start = image.segments[0].address
    data = bytearray(b"\xff" * (image.flash_end - start))
    for segment in image.segments:
        offset = segment.address - start
        data[offset : offset + len(segment.data)] = segment.data
    words = np.frombuffer(data, "<u4").astype(np.uint64)
    powers = np.ones(len(words), np.uint64)
    powers[1:] = CHECKSUM_FACTOR
    # Unsigned numpy integers wrap silently, which is arithmetic modulo 2^64.
    powers = np.cumprod(powers, dtype=np.uint64)[::-1]
    return int(np.sum(words * powers, dtype=np.uint64))
