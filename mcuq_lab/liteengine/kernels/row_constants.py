"""Constants of a row polynomial that follow from its weights, worked out once for equal ones.

They are the same for a band of any height, in strips, and whatever the layer's biases are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.kernels.remembered import constants_once, weights_digest
from mcuq_lab.liteengine.kernels.row_layout import RowLayout
from mcuq_lab.liteengine.kernels.row_starts import RowStarts, row_starts, row_surplus
from mcuq_lab.liteengine.kernels.row_weights import flash_weights
from mcuq_lab.liteengine.kernels.vertical_layout import VerticalLayout


@dataclass(frozen=True, eq=False)
class RowConstants:
    """Attributes:
    weights: as `row_weights.flash_weights`.
    surplus: as `row_starts.row_surplus`.
    starts: as `row_starts.row_starts`.
    """

    weights: np.ndarray
    surplus: np.ndarray
    starts: RowStarts


def row_constants(layout: RowLayout) -> RowConstants:
    """Of a layout; not to be written to."""
    source = layout.source
    known = (
        weights_digest(layout.op.weight, layout.weight),
        layout.op.w_bits,
        layout.packing,
        (source.storage_bits, source.bits, source.zero_point != 0),
        isinstance(layout, VerticalLayout) and ("vertical", layout.even),
    )
    return constants_once(
        known,
        lambda: RowConstants(flash_weights(layout), row_surplus(layout), row_starts(layout)),
    )
