"""Weights as they lie in flash: dense fields of exactly w_bits.

Two layouts:

- A *stream*: field i at bits i * w_bits and up, lowest bit first, from a byte on.
- *Lanes* (fully connected): each group of 16 fields a lane takes w_bits words. A word is two
  16-bit lanes, each a stream; one mask extracts a field of both, ready for SMLAD.
"""

from __future__ import annotations

import numpy as np

LANE_FIELDS = 16


def stream_bytes(count: int, bits: int) -> int:
    """Bytes of a stream of `count` fields."""
    return (count * bits + 7) // 8


def pack_stream(values: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers (rows, n) as one stream a row: uint8 (rows, stream_bytes(n, bits))."""
    values = np.asarray(values).astype(np.uint8)  # two's complement; fields have at most 8 bits
    fields = np.unpackbits(values[..., None], axis=-1, count=bits, bitorder="little")
    flat = fields.reshape(*values.shape[:-1], values.shape[-1] * bits)
    return np.packbits(flat, axis=-1, bitorder="little")


def pack_lanes(fields: np.ndarray, bits: int) -> np.ndarray:
    """Unsigned fields (..., groups, LANE_FIELDS, 2 lanes): uint8 (..., groups * 4 * bits)."""
    lanes = pack_stream(np.swapaxes(fields, -1, -2), bits)
    # (..., group, lane, word, 2 bytes of the half) -> (..., group, word, lane, 2 bytes)
    halves = np.swapaxes(lanes.reshape(*lanes.shape[:-1], bits, 2), -3, -2)
    return halves.reshape(*fields.shape[:-3], -1)
