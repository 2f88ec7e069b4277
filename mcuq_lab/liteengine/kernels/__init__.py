"""Kernel families: C kernels, and the Python that lowers an operator to a call of one of them."""

from __future__ import annotations

from mcuq_lab.liteengine.kernels.add_generic import lower_add_generic
from mcuq_lab.liteengine.kernels.add_table import lower_add_table
from mcuq_lab.liteengine.kernels.compact import lower_compact
from mcuq_lab.liteengine.kernels.conv2d_generic import lower_conv2d_generic
from mcuq_lab.liteengine.kernels.depthwise_fold import lower_depthwise_fold
from mcuq_lab.liteengine.kernels.depthwise_generic import lower_depthwise_generic
from mcuq_lab.liteengine.kernels.depthwise_points import lower_depthwise_points
from mcuq_lab.liteengine.kernels.fullyconnected import (
    lower_fullyconnected_bytes,
    lower_fullyconnected_lanes,
    lower_fullyconnected_signed,
)
from mcuq_lab.liteengine.kernels.fullyconnected_halves import lower_fullyconnected_halves
from mcuq_lab.liteengine.kernels.halves import lower_halves
from mcuq_lab.liteengine.kernels.layout import lower_concat, lower_flatten
from mcuq_lab.liteengine.kernels.points import lower_points
from mcuq_lab.liteengine.kernels.pool_generic import (
    lower_averagepool_fields,
    lower_averagepool_generic,
    lower_maxpool_generic,
)
from mcuq_lab.liteengine.kernels.remembered import remembered
from mcuq_lab.liteengine.kernels.row_polynomial import (
    lower_depthwise_row,
    lower_row_polynomial,
    lower_vertical,
)

GENERIC_FAMILIES = (
    lower_conv2d_generic,
    lower_depthwise_generic,
    lower_fullyconnected_lanes,
    lower_add_generic,
    lower_averagepool_generic,
    lower_maxpool_generic,
    lower_flatten,
    lower_concat,
)
"""Together they compute every operator at every width; also the twins that others are tested by."""

PACKED_FAMILIES = (
    lower_row_polynomial,
    lower_vertical,
    lower_depthwise_row,
    lower_depthwise_fold,
    lower_depthwise_points,
    lower_halves,
    lower_points,
    lower_compact,
    lower_fullyconnected_bytes,
    lower_fullyconnected_signed,
    lower_fullyconnected_halves,
    lower_add_table,
    lower_averagepool_fields,
)
"""General operand packing, and kernels for some operators and budgets."""

FAMILIES = tuple(map(remembered, (*PACKED_FAMILIES, *GENERIC_FAMILIES)))
"""All families, each remembering its answers; where two cost the same the earlier one is taken."""

__all__ = ["FAMILIES", "GENERIC_FAMILIES", "PACKED_FAMILIES"]
