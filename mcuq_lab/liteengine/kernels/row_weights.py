"""Weights of row polynomials as they lie in flash: dense, in the order of their unpacking."""

from __future__ import annotations

import numpy as np

from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.kernels.row_layout import RowLayout, padded
from mcuq_lab.liteengine.kernels.vertical_layout import VerticalLayout
from mcuq_lab.liteengine.packing.lanes import LANES, in_lane_order, lanes_in_halves
from mcuq_lab.liteengine.packing.vertical_rows import weights_in_pairs

_FIELDS = 18  # of an input channel and two output channels


def flash_weights(layout: RowLayout) -> np.ndarray:
    """uint8 (pairs of output channels, bytes), for the unpacking function of the kernel."""
    op, packing, w_bits = layout.op, layout.packing, layout.op.w_bits
    weight = op.weight
    if isinstance(layout, VerticalLayout):
        weight = layout.weight
    if packing.lanes == LANES:
        weight = in_lane_order(weight, 32 // layout.source.storage_bits)
    halves = packing.lanes == LANES and lanes_in_halves(w_bits, packing.field_bits)
    pairs, group = (op.out_channels + 1) // 2, 2 if w_bits == 2 or halves else 1
    whole = np.zeros((2 * pairs, 3, 3, padded(weight.shape[3], group)), np.int8)
    whole[: op.out_channels, ..., : weight.shape[3]] = weight
    # (pair, oc, ky, kx, ic) -> (pair, ic, ky, oc, columns 2 to 0)
    ordered = whole.reshape(pairs, 2, 3, 3, -1).transpose(0, 4, 2, 1, 3)[..., ::-1]
    if halves:
        return _in_halves(ordered.reshape(pairs, -1, LANES, _FIELDS), w_bits)
    if isinstance(layout, VerticalLayout) and weights_in_pairs(
        w_bits, packing.field_bits, layout.even
    ):
        rows = ordered.swapaxes(2, 3)  # (pair, ic, oc, ky, columns)
        return _three_bits(rows) if w_bits == 3 else _four_bits(rows.reshape(pairs, -1, 3, 4, 3))
    return pack_stream(ordered.reshape(pairs, -1, _FIELDS * group), w_bits).reshape(pairs, -1)


def _four_bits(rows: np.ndarray) -> np.ndarray:
    """Rows (pairs, two input channels, word, row of the word, columns 2 to 0) as
    `le_vertical_unpack_pairs4` reads them: a word is columns 2 of its four rows, then columns 1;
    behind three words come all columns 0. Without sign."""
    words = rows[..., :2].swapaxes(-1, -2).reshape(*rows.shape[:2], -1)
    columns = np.concatenate([words, rows[..., 2].reshape(*rows.shape[:2], -1)], axis=-1)
    return pack_stream(columns.astype(np.int64) + 8, 4).reshape(len(rows), -1)


_PLACES_3 = ((0, 16, 34), (3, 19, 37), (6, 22, 40), (9, 25, 43), (12, 28, 50), (31, 47, 53))
"""Bits of columns 2, 1 and 0 in the 56 of a channel with 3-bit weights, two of them unused."""


def _three_bits(rows: np.ndarray) -> np.ndarray:
    """Rows (pairs, channels, output channel, filter row, columns 2 to 0) as
    `le_vertical_unpack_pairs3` reads them. Without sign."""
    fields = rows.reshape(*rows.shape[:2], -1).astype(np.int64) + 4
    run = (fields << np.array(_PLACES_3).reshape(-1)).sum(axis=-1)
    stored = (run[..., None] >> np.arange(0, 56, 8)) & 0xFF
    return stored.astype(np.uint8).reshape(len(rows), -1)


def _in_halves(fields: np.ndarray, w_bits: int) -> np.ndarray:
    """Fields (pairs, channels, lane, 18) as `le_row_lanes_unpack_halves` reads them: as many of one
    lane as fill 16 bits, as many of the other, and so on. Without sign."""
    pairs, channels = fields.shape[:2]
    in_half = 16 // w_bits
    whole = _FIELDS // in_half * in_half
    front = fields[..., :whole].reshape(pairs, channels, LANES, -1, in_half).swapaxes(2, 3)
    parts = [part.reshape(pairs, channels, -1) for part in (front, fields[..., whole:])]
    unsigned = np.concatenate(parts, axis=-1).astype(np.int64) + (1 << (w_bits - 1))
    return pack_stream(unsigned, w_bits).reshape(pairs, -1)
