"""Start values of row polynomials as they lie in flash."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.kernels.row_layout import RowLayout
from mcuq_lab.liteengine.kernels.vertical_layout import VerticalLayout
from mcuq_lab.liteengine.packing.row import segment_weights, start_values


def _has_weight_sums(layout: RowLayout) -> bool:
    """Whether start values need the sums of the weights."""
    return layout.packing.toggle or layout.source.zero_point != 0


@dataclass(frozen=True, eq=False)
class RowStarts:
    """`le_row_layer.starts` (channels rounded up to pairs, segments, 2, 3 or 5 numbers)."""

    numbers: np.ndarray
    unit: int
    sum_base: int

    @property
    def number_bytes(self) -> int:
        return 1 if self.numbers.min() >= 0 and self.numbers.max() < 1 << 8 else 4

    @property
    def c_type(self) -> str:
        return "uint8_t" if self.number_bytes == 1 else "int32_t"


def row_starts(layout: RowLayout) -> RowStarts:
    """Of all segments of a layer."""
    packing, source, weight = layout.packing, layout.source, layout.weight
    starts, _ = start_values(packing, weight, source.bits)
    parts = [segment_weights(segment, weight) for segment in packing.segments]
    last = packing.taps_low[-1]
    amax = np.array([segment.a_slice.amax for segment in packing.segments])
    upper = np.stack([np.maximum(-part[:, :, last], 0).sum(axis=(1, 2)) for part in parts])
    numbers = np.stack([starts, amax[:, None] * upper], axis=2)
    unit = max(1, int(np.gcd.reduce(numbers, axis=None)))
    numbers, sum_base = numbers // unit, 0
    if _has_weight_sums(layout):
        # by ascending power of z; two taps have no third one
        taps = np.stack([part.sum(axis=(1, 3))[:, ::-1] for part in parts])
        taps = np.pad(taps, ((0, 0), (0, 0), (0, 3 - taps.shape[2])))
        sum_base = int(taps.min())
        numbers = np.concatenate([numbers, taps - sum_base], axis=2)
    elif isinstance(layout, VerticalLayout):
        taps = np.stack([part[:, :, last].sum(axis=(1, 2)) for part in parts])[..., None]
        sum_base = int(taps.min())
        numbers = np.concatenate([numbers, taps - sum_base], axis=2)
    odd = ((0, layout.op.out_channels % 2), (0, 0), (0, 0))
    return RowStarts(np.pad(numbers.transpose(1, 0, 2), odd, mode="edge"), unit, sum_base)


def row_surplus(layout: RowLayout) -> np.ndarray:
    """Of each output channel, rounded up to pairs; empty unless weights are sliced."""
    packing = layout.packing
    if len(packing.w_slices) == 1:
        return np.zeros(0, np.int64)
    _, surplus = start_values(packing, layout.weight, layout.source.bits)
    surplus = surplus << packing.segments[0].significance
    return np.pad(surplus, (0, layout.op.out_channels % 2), mode="edge")
