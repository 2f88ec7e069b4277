"""Weights as they lie in flash: dense fields of exactly w_bits.

Two layouts:

- A *stream*: field i at bits i * w_bits and up, lowest bit first, from a byte on.
- *Lanes* (fully connected): each group of 32 weights takes w_bits words. A word is two 16-bit
  lanes; field k of the lower lane is weight k, of the upper lane weight k + 16, each at bits
  k * w_bits of its lane. One mask then extracts a pair of weights, ready for SMLAD. Lane fields
  hold w + 2**(w_bits - 1), which is never negative, so no sign extension is needed; the kernel
  takes the surplus, 2**(w_bits - 1) * sum(u), off the accumulator. What is left of a row behind
  its last group is a stream of w.
"""

from __future__ import annotations

import numpy as np

LANE_GROUP = 32


def stream_bytes(count: int, bits: int) -> int:
    """Bytes of a stream of `count` fields."""
    return (count * bits + 7) // 8


def pack_stream(values: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers (rows, n) as one stream a row: uint8 (rows, stream_bytes(n, bits))."""
    values = np.asarray(values, np.int64)
    fields = (values[..., None] >> np.arange(bits)) & 1
    flat = fields.reshape(*values.shape[:-1], values.shape[-1] * bits).astype(np.uint8)
    return np.packbits(flat, axis=-1, bitorder="little")


def pack_lanes(values: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers (rows, n) in lanes, tails as streams: uint8 (rows, bytes of a row)."""
    rows, n = values.shape
    groups = n // LANE_GROUP
    shifted = values[:, : groups * LANE_GROUP].astype(np.int64) + (1 << (bits - 1))
    lanes = pack_stream(shifted.reshape(rows, groups, 2, LANE_GROUP // 2), bits)
    # (rows, groups, lane, word, 2 bytes of the half) -> (rows, groups, word, lane, 2 bytes)
    halves = lanes.reshape(rows, groups, 2, bits, 2).transpose(0, 1, 3, 2, 4)
    tail = pack_stream(values[:, groups * LANE_GROUP :], bits)
    return np.concatenate([halves.reshape(rows, -1), tail], axis=1)
