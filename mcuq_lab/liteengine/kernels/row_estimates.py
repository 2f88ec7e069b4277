"""Predicted cycles of a row polynomial, fitted to runs on the simulated Cortex-M4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcuq_lab.liteengine.packing.lanes import lanes_in_halves
from mcuq_lab.liteengine.packing.row_cycles import (
    epilogue_cycles,
    nested_cycles,
    product_cycles,
)

if TYPE_CHECKING:
    from mcuq_lab.liteengine.kernels.row_layout import RowLayout


def row_cycles(layout: RowLayout) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs: tiles, calls, preparation, packing."""
    shape, segments = layout.output.shape, len(layout.packing.segments)
    row_pairs, channel_pairs = (shape.h + 1) // 2, (shape.c + 1) // 2
    bands = -(-row_pairs // layout.pairs)
    summed, unroll = (1, 1) if layout.depthwise else (layout.weight.shape[3], layout.unroll)
    # a tile more, where the first and the last one do without half of the products
    full = layout.source.shape.w / layout.packing.pixels if layout.halves else layout.tiles
    pre_shifted = layout.op.requantize.pre_shift > 0
    epilogue = layout.output.storage_bits, pre_shifted
    if layout.nested:
        tiles = layout.tiles * nested_cycles(layout.packing, unroll, *epilogue)
    else:
        tiles = full * product_cycles(layout.packing, summed, unroll)
        tiles += layout.tiles * epilogue_cycles(layout.packing, *epilogue)
    direct = _direct_share(layout)
    call = tiles + direct * _direct_cycles(layout) + (1 - direct) * _line_cycles(layout)
    words = layout.summed_planes * 6 * len(layout.packing.w_slices)
    word = (8 if layout.packing.phases == 1 else 4.5) * layout.packing.lanes
    if layout.packing.lanes > 1 and lanes_in_halves(layout.op.w_bits, layout.packing.field_bits):
        word = 5.5
    if layout.op.w_bits == 2 and layout.packing.phases == 1 and layout.packing.words == 1:
        word = 5.5  # three taps at once out of a table
    # start values of toggled words come with sums of the weights
    start = 60 + 175 * layout.packing.toggle + 80 * layout.nested
    prepare = word * words + 300 + start * segments
    return int(
        row_pairs * channel_pairs * call
        + bands * channel_pairs * prepare
        + (layout.stride * shape.h + layout.shared_rows) * row_packing_cycles(layout)
        + (bands - 1) * layout.shared_rows * layout.a_bytes / layout.slots
    )


def row_packing_cycles(layout: RowLayout) -> int:
    """Of one input row, all channels."""
    m, channels = layout.packing.pixels, layout.source.shape.c
    fields = 32 // layout.source.storage_bits
    words, single = divmod(channels, fields)
    if layout.few_channels:
        slices = len(layout.packing.a_slices) * layout.packing.phases
        loads = m * (3 if channels * layout.source.storage_bits > 16 else 2)
        start = 290 if layout.packing.phases == 1 else 100
        return slices * (start + layout.blocks * (channels * (2 * m + 1) + loads + 8))
    word, start = 2 * m + 1, 200
    if _packs_by_halves(layout):
        word, start = m + 1, 230
    if layout.packing.phases == 1:
        by_word = start + layout.blocks * (fields * word + m + 12)
        by_channel = 160 + layout.blocks * (4 * m + 14)
        return len(layout.packing.a_slices) * (words * by_word + single * by_channel)
    word = 7 if layout.packing.lanes == 2 else word
    by_word = 140 + layout.blocks * (fields * word + m + 12)
    by_channel = 140 + layout.blocks * (5 * m + 15)
    phases = len(layout.packing.a_slices) * layout.packing.phases
    return phases * (words * by_word + -(-single // layout.packing.lanes) * by_channel)


def _packs_by_halves(layout: RowLayout) -> bool:
    """Whether whole words of channels are packed by SMLAD: `le_row_by_halves`."""
    packing = layout.packing
    upper = max(3 * packing.field_bits - 14, 0) if packing.pixels == 4 else 0
    widest = max(part.bits for part in packing.a_slices)
    return (
        packing.lanes == 1
        and packing.pixels in (3, 4)
        and packing.field_bits <= 14
        and upper + widest <= 15
    )


def _direct_share(layout: RowLayout) -> float:
    """Of all rows, those that `le_row_direct_pairs` finds."""
    row_pairs, cut = (layout.output.shape.h + 1) // 2, layout.right < layout.tiles
    if layout.right == 0 or layout.lead > 1:
        return 0.0
    if layout.lead == 0:
        return 1.0
    replaced = 1.0 if layout.flush or cut else float(layout.tiles > 1)
    if layout.output.storage_bits == 2 and not layout.flush and not cut:
        replaced /= 2  # channels that are merged into a byte go another way
    return replaced * (row_pairs - 1) / row_pairs


def _direct_cycles(layout: RowLayout) -> float:
    """Of two rows of two channels, besides their tiles, where they are written directly."""
    planned = (220 + 75 * layout.passes + 35 * layout.pair_runs) / layout.batch
    shared = layout.output.storage_bits == 2
    cut = 0
    if layout.right < layout.tiles:  # pixels behind the last whole tile are copied from the line
        pixels = layout.fields - layout.right * layout.packing.pixels
        cut = 100 + 45 * pixels + 9 * layout.packing.pixels * shared
    return planned + 60 * layout.pair_runs + _flush_cycles(layout) + cut + 60 * shared


def _line_cycles(layout: RowLayout) -> float:
    """The same where their edges are copied from the line."""
    edges = layout.packing.pixels * ((layout.lead > 0) + (layout.right < layout.tiles))
    planned = 350 + 75 * layout.passes + 95 * (layout.pair_runs + 1)
    merged = 60 * (layout.output.storage_bits == 2)
    return planned + 25 * edges + _flush_cycles(layout) + merged


def _flush_cycles(layout: RowLayout) -> int:
    """Of the last column of two rows, where no tile yields it."""
    segments = len(layout.packing.segments)
    return (200 if segments == 1 else 215 + 35 * segments) * layout.flush
