"""Weights as the kernels read them: unsigned fields, in the order in which widening delivers them.

Widening a word of n fields gives the pairs (0, n/2), (1, n/2 + 1), ... An input pixel goes to a
column in that order, word by word; what is left of it follows in its own order. The weights are
permuted to match, then stored so that their own widening restores that order.
"""

from __future__ import annotations

import numpy as np


def column_order(pixels: int, channels: int, a_bits: int) -> np.ndarray:
    """Which value of a window (pixels x channels, flattened) each place of a column holds."""
    fields = 32 // a_bits
    whole = channels // fields * fields
    words = np.arange(whole).reshape(-1, 2, fields // 2).transpose(0, 2, 1).ravel()
    pixel = np.concatenate([words, np.arange(whole, channels)]).astype(np.int64)
    return (np.arange(pixels)[:, None] * channels + pixel).ravel()


def column_depth(pixels: int, channels: int, w_bits: int) -> int:
    """Values of a column: those of the window, up to whole words of weights."""
    fields = 32 // w_bits
    return -(-pixels * channels // fields) * fields


def convolution_rows(weight: np.ndarray, w_bits: int, a_bits: int) -> np.ndarray:
    """Weights (oc, kh, kw, ic) as bytes (oc rounded up to even, bytes of a row)."""
    oc, channels = weight.shape[0], weight.shape[-1]
    flat = weight.reshape(oc, -1).astype(np.int64)
    pixels = flat.shape[1] // channels
    depth = column_depth(pixels, channels, w_bits)
    rows = np.zeros((oc + oc % 2, depth), np.int64)
    rows[:oc, : flat.shape[1]] = flat[:, column_order(pixels, channels, a_bits)]
    fields = 32 // w_bits
    words = rows.reshape(len(rows), -1, fields // 2, 2).transpose(0, 1, 3, 2)
    return _pack(words.reshape(len(rows), depth), w_bits)


def depthwise_rows(weight: np.ndarray, w_bits: int) -> np.ndarray:
    """Weights (c, kh, kw, 1) as bytes (taps, bytes of a row); channels rounded up to fours."""
    c = weight.shape[0]
    rows = np.zeros((weight[0].size, -(-c // 4) * 4), np.int64)
    rows[:, :c] = weight.reshape(c, -1).T
    return _pack(rows, w_bits)


def _pack(rows: np.ndarray, w_bits: int) -> np.ndarray:
    unsigned = rows + (1 << (w_bits - 1))
    per_byte = 8 // w_bits
    fields = unsigned.reshape(len(rows), -1, per_byte)
    return (fields << (np.arange(per_byte) * w_bits)).sum(-1).astype(np.uint8)
