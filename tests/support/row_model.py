"""The row polynomial in Python integers: words, accumulators and carries exactly as on the core."""

from __future__ import annotations

import numpy as np

from mcuq_lab.liteengine.packing.row import (
    RowPacking,
    segment_weights,
    start_values,
    weight_words,
)

_WORD, _ACCUMULATOR = 1 << 32, 1 << 64


def _int32(word: int) -> int:
    word %= _WORD
    return word - _WORD if word >= _WORD // 2 else word


def packed_sums(
    packing: RowPacking, weight: np.ndarray, a_bits: int, rows: np.ndarray
) -> np.ndarray:
    """acc + start of all outputs that no padding touches.

    Args:
        weight: integers (oc, 3, taps, planes).
        rows: activations (3, w, planes); w a multiple of the packing's pixels.

    Returns:
        int64 (w - taps + 1, oc).
    """
    starts, surplus = start_values(packing, weight, a_bits)
    totals = np.zeros((rows.shape[1], len(weight)), object)
    for index, (segment, start) in enumerate(zip(packing.segments, starts, strict=True)):
        part = segment_weights(segment, weight)
        chosen = rows[..., segment.first : segment.first + segment.count]
        values = (chosen.astype(np.int64) >> segment.a_slice.low) & segment.a_slice.amax
        for oc in range(len(weight)):
            sums = _channel_sums(packing, part[oc], values, int(start[oc]), segment.a_slice.amax)
            if index == 0:
                totals[:, oc] = sums - int(surplus[oc])
            else:
                totals[:, oc] = totals[:, oc] * (1 << segment.shift) + sums
    return totals[packing.taps - 1 :].astype(np.int64)


def _channel_sums(
    packing: RowPacking, weight: np.ndarray, values: np.ndarray, start: int, amax: int
) -> np.ndarray:
    m, s = packing.pixels, packing.field_bits
    words = weight_words(weight[None], s, packing.words)[0]  # (3, ic, words)
    last = 0 if packing.words == 1 else 1
    uppermost = amax * int(np.maximum(-weight[:, last], 0).sum())
    carried = packing.carried
    kept = [start] * carried  # what the first block would have been handed over
    kept[-1] = uppermost
    accumulator = sum(value << (i * s) for i, value in enumerate(kept))
    fields = []
    before = np.zeros((3, values.shape[2]), object)
    for block in range(values.shape[1] // m):
        ends = [start] * (m + carried)
        ends[-1] = uppermost
        begins = kept + [0] * m
        for i, (end, begin) in enumerate(zip(ends, begins, strict=True)):
            accumulator += (end - begin) << (i * s)
        a = np.zeros_like(before)
        for i in range(m):
            a += values[:, block * m + i].astype(object) << (i * s)
        for ky in range(3):
            for channel in range(values.shape[2]):
                accumulator += _product(packing, int(a[ky, channel]), words[ky, channel, 0])
                if packing.words == 2:
                    accumulator += _product(
                        packing, int(before[ky, channel]), words[ky, channel, 1]
                    )
        if packing.toggle:
            accumulator += (1 << 31) * sum(int(word) for word in words.reshape(-1))
        accumulator %= _ACCUMULATOR
        fields += [(accumulator >> (i * s)) % (1 << s) for i in range(m)]
        accumulator >>= m * s
        assert accumulator < _WORD, "what is carried must be one word"
        before = a
    return np.array(fields, object)


def _product(packing: RowPacking, a: int, w: int) -> int:
    assert 0 <= a < _WORD
    a = _int32(a ^ 0x80000000) if packing.toggle else a
    assert a == _int32(a)
    assert int(w) == _int32(int(w)), "a weight word must be an int32"
    return a * int(w)
