"""3x3 convolutions with stride 1 or 2 as products of polynomials: see `le_row_polynomial.h`."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_struct
from mcuq_lab.liteengine.dual_issue import DUAL_ISSUE_CORE
from mcuq_lab.liteengine.kernels.columns import COLUMN_BYTES, Column, padded_offsets
from mcuq_lab.liteengine.kernels.remembered import once_for_weights, selected_once, sizes_of
from mcuq_lab.liteengine.kernels.row_constants import row_constants
from mcuq_lab.liteengine.kernels.row_kernels import KernelKey, row_kernel
from mcuq_lab.liteengine.kernels.row_layout import RowLayout, padded
from mcuq_lab.liteengine.kernels.vertical_kernels import vertical_kernel
from mcuq_lab.liteengine.kernels.vertical_layout import GROUP_ROWS, VerticalLayout
from mcuq_lab.liteengine.kernels.windows import map_fields
from mcuq_lab.liteengine.lowering import ByRows, Lowered, near_fastest
from mcuq_lab.liteengine.packing.lanes import LANES, fold_lanes, lane_packings
from mcuq_lab.liteengine.packing.phases import fold_phases
from mcuq_lab.liteengine.packing.row import (
    RowPacking,
    row_packings,
)
from mcuq_lab.liteengine.packing.row_cycles import loop_cycles
from mcuq_lab.liteengine.packing.vertical_rows import balanced, in_order, vertical_packings
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

MOST_PLANES_WITHOUT_LOOP = 16
"""On the Cortex-M7, where the end of a short loop costs as much as a plane."""

MOST_PLANES_OF_A_PASS = 24
"""28 bytes of code each, in each of four passes."""

_LAYER_BYTES, _SEGMENT_BYTES, _PLAN_BYTES = 116 + 2 * COLUMN_BYTES, 16, 16


def lower_row_polynomial(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A 3x3 `QConv2d` with stride 1 or 2 and at most one column of padding on either side."""
    if not isinstance(op, QConv2d) or not _applies(op, (1, 2)):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    return (*_dense_ways(op, source, output, target), *_lane_ways(op, source, output))


def lower_vertical(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A 3x3 `QConv2d` with stride 1, by Winograd's F(2, 3) on packed rows."""
    if not isinstance(op, QConv2d) or not _applies(op, (1,)):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    return _vertical_ways(op, source, output)


def lower_depthwise_row(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A 3x3 `QDepthwiseConv2d` with stride 1 and at most one column of padding on either side."""
    if not isinstance(op, QDepthwiseConv2d) or not _applies(op, (1,)):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    return _depthwise_ways(op, source, output)


def _applies(op: QConv2d | QDepthwiseConv2d, strides: tuple[int, ...]) -> bool:
    window = op.window
    shape, stride = (window.kernel_h, window.kernel_w), window.stride_h
    if shape != (3, 3) or stride not in strides or stride != window.stride_w:
        return False
    return max(window.pad_left, window.pad_right) <= 1


def _offered(
    known: Hashable, layouts: Callable[[], Iterable[RowLayout]], weight: np.ndarray, *layer
) -> tuple[Lowered, ...]:
    """The best of `layouts` of a layer (operator, source, output) with `weight` by phases."""
    op, source, output = layer
    chosen = selected_once((sizes_of(*layer), known), layouts, _best)
    return tuple(
        _lowered(
            replace(way, op=op, source=source, output=output, weight=_in_order_of(way, weight))
        )
        for way in chosen
    )


def _in_order_of(layout: RowLayout, weight: np.ndarray) -> np.ndarray:
    """Weights with their input channels in the order of the layout's planes."""
    order = layout.order if isinstance(layout, VerticalLayout) else ()
    if not order:
        return weight
    word = 32 // layout.source.storage_bits
    return weight[..., in_order(order, word, layout.source.shape.c)]


def _best(layouts: Iterable[RowLayout]) -> list[RowLayout]:
    # Where cycles are equal, wider fields are more likely to suit another layer, too.
    ordered = sorted(layouts, key=lambda way: -way.packing.field_bits)
    return near_fastest(ordered, _kernel_parts, _cycles, _scratch_bytes)


def _cycles(layout: RowLayout) -> int:
    return layout.cycles


def _scratch_bytes(layout: RowLayout) -> int:
    return layout.scratch_bytes


def _kernel_parts(layout: RowLayout) -> tuple:
    """What tells its kernel from those of other ways to compute the same operator."""
    packing = layout.packing
    return layout.tile, packing.words, packing.phases, packing.a_slices, packing.w_slices


_row_packings, _lane_packings = once_for_weights(row_packings), once_for_weights(lane_packings)


def _dense_ways(
    op: QConv2d, source: QTensor, output: QTensor, target: Target
) -> tuple[Lowered, ...]:
    weight = fold_phases(op.weight, op.window)
    planes = weight.shape[3]
    unroll = _unroll(planes)
    # Ranges are whole words of packed channels, too.
    ranges = math.lcm(unroll, 32 // source.storage_bits)
    packings = _row_packings(weight, op.w_bits, source.bits, unroll, ranges)
    # Two rounds end in a branch that is predicted wrongly each time; one round in none.
    in_one_round = target.core == DUAL_ISSUE_CORE and unroll < planes <= MOST_PLANES_WITHOUT_LOOP

    def layouts() -> Iterator[RowLayout]:
        yield from _with_heights(op, source, output, weight, packings, unroll)
        if in_one_round:
            whole = (way for way in packings if len(way.segments) == 1)
            yield from _with_heights(op, source, output, weight, whole, planes)

    return _offered(("dense", packings, in_one_round), layouts, weight, op, source, output)


def _lane_ways(op: QConv2d, source: QTensor, output: QTensor) -> tuple[Lowered, ...]:
    """Strided layers of few bits: both channels of a lane lie in one byte."""
    if op.window.stride_h == 1 or source.storage_bits == 8:
        return ()
    weight = fold_lanes(op.weight, op.window, 32 // source.storage_bits)
    longest = _unroll(weight.shape[3] // LANES)
    # Segments are whole rounds: shorter ones are for narrow fields.
    packings = tuple(
        tuple(
            way
            for way in _lane_packings(weight, op.w_bits, source.bits, LANES * unroll)
            if unroll == longest or len(way.segments) > 1
        )
        for unroll in range(1, longest + 1)
    )

    def layouts() -> Iterator[RowLayout]:
        for unroll, some in enumerate(packings, 1):
            yield from _with_heights(op, source, output, weight, some, unroll)

    return _offered(("lanes", packings), layouts, weight, op, source, output)


def _with_heights(
    op: QConv2d,
    source: QTensor,
    output: QTensor,
    weight: np.ndarray,
    packings: Iterable[RowPacking],
    unroll: int,
) -> Iterator[RowLayout]:
    for packing in packings:
        for pairs in _heights(output):
            layout = RowLayout(op, source, output, weight, packing, unroll, pairs, source.shape.c)
            if layout.w_bytes > 0xFFFF:  # `le_row_layer.w_bytes` has 16 bits
                return
            if layout.fits:
                yield layout


@once_for_weights
def _vertical_packings(
    weight: np.ndarray, w_bits: int, a_bits: int, storage_bits: int
) -> Iterator[tuple[RowPacking, tuple[int, ...]]]:
    """Packings, each with the order of its words of input channels, empty for that of memory."""
    packings = tuple(vertical_packings(weight, w_bits, a_bits, partial(_whole_planes, w_bits)))
    yield from ((packing, ()) for packing in packings)
    if packings:
        densest = max(packings, key=lambda way: (way.pixels, way.field_bits))
        whole = partial(_whole_planes, w_bits)
        fewer = balanced(weight, a_bits, densest, whole, 32 // storage_bits)
        if fewer is not None:
            order, packing = fewer
            yield packing, order


def _vertical_ways(op: QConv2d, source: QTensor, output: QTensor) -> tuple[Lowered, ...]:
    packings = _vertical_packings(op.weight, op.w_bits, source.bits, source.storage_bits)

    def layouts() -> Iterator[VerticalLayout]:
        for packing, order in packings:
            unroll = _pass_planes(_whole_planes(op.w_bits, packing.segments[0].count))
            for pairs in range(1, min(4, -(-output.shape.h // GROUP_ROWS)) + 1):
                layout = VerticalLayout(
                    op, source, output, op.weight, packing, unroll, pairs, source.shape.c, order
                )
                if layout.w_bytes <= 0xFFFF:
                    yield layout

    return _offered(("vertical", packings), layouts, op.weight, op, source, output)


def _whole_planes(w_bits: int, count: int) -> int:
    """Planes of a segment of `count` channels: whole rounds."""
    step = 2 if w_bits == 2 else 1  # 2-bit weights are unpacked by two channels
    return padded(padded(count, step), _pass_planes(padded(count, step)))


def _pass_planes(count: int) -> int:
    """Planes of a round: one round, or few with few planes of padding in the last one."""
    return min(
        range(1, min(count, MOST_PLANES_OF_A_PASS) + 1),
        key=lambda unroll: 9 * padded(count, unroll) + 7 * -(-count // unroll),
    )


def _depthwise_ways(op: QDepthwiseConv2d, source: QTensor, output: QTensor) -> tuple[Lowered, ...]:
    group = min(padded(source.shape.c, 2), 32 // source.storage_bits)
    packings = _row_packings(op.weight, op.w_bits, source.bits)

    def layouts() -> Iterator[RowLayout]:
        for packing in packings:
            for pairs in _heights(output):
                layout = RowLayout(op, source, output, op.weight, packing, 2, pairs, group)
                if layout.fits:
                    yield layout

    return _offered(("depthwise", packings), layouts, op.weight, op, source, output)


def _heights(output: QTensor) -> range:
    """Heights of a band, in pairs of rows: higher ones unpack the weights less often, but take more
    scratch."""
    return range(1, min(4, (output.shape.h + 1) // 2) + 1)


def _unroll(channels: int) -> int:
    """Planes of a round: few rounds, and few planes of padding in the last one."""
    return min(
        range(1, min(channels, 8) + 1),
        key=lambda unroll: 25 * padded(channels, unroll) + 7 * -(-channels // unroll),
    )


def _rows(c_type: str, name: str, rows: Sequence[Sequence[int]]) -> str:
    """A constant array of structures."""
    lines = "".join(f"    {{{', '.join(map(str, row))}}},\n" for row in rows)
    return f"static const {c_type} {name}[{len(rows)}] = {{\n{lines}}};\n"


def _lowered(layout: RowLayout) -> Lowered:
    op, source, output, packing = layout.op, layout.source, layout.output, layout.packing
    name = c_identifier(op.name)
    order = layout.order if isinstance(layout, VerticalLayout) else ()
    padded_phases = packing.phases > 1 and op.window.pad_left > 0
    key = KernelKey(
        op.w_bits,
        source.bits,
        source.storage_bits,
        packing,
        layout.tile,
        padded_phases,
        layout.few_channels,
        bool(order),
    )
    if isinstance(layout, VerticalLayout):
        kernel, files = vertical_kernel(key, layout.vertical_tile, layout.even)
        loop, words = layout.loop_cycles / 2, f"{packing}, F(2, 3)"
    else:
        kernel, files = row_kernel(key)
        loop, words = loop_cycles(packing), str(packing)
    constants = row_constants(layout)
    weights, starts = constants.weights, constants.starts
    missing = op.out_channels % 2
    multipliers = np.pad(op.requantize.multiplier, (0, missing))
    offsets = Column(f"{name}_offsets", padded_offsets(op.requantize.offset, missing))
    surplus = Column(f"{name}_surplus", constants.surplus)
    segments = [layout.segment_row(segment) for segment in packing.segments]
    fields = {
        **map_fields(source, output),
        "out_c": op.out_channels,
        "group": layout.group,
        "range": layout.range,
        "ranges": layout.ranges,
        "blocks": layout.blocks,
        "tiles": layout.tiles,
        "right": layout.right,
        "pad_top": op.window.pad_top,
        "pad_left": op.window.pad_left,
        "zero_point": source.zero_point,
        "lead": layout.lead,
        "halves": int(layout.halves),
        "flush": int(layout.flush),
        "pad_blocks": layout.pad_blocks,
        "segment_count": len(segments),
        "batch": layout.batch,
        "runs": layout.runs,
        "w_bytes": layout.w_bytes,
        "a_bytes": layout.a_bytes,
        "block_bytes": layout.block_bytes,
        "range_bytes": layout.range_bytes,
        "pad_word": layout.pad_word,
        "pair_bytes": weights.shape[1],
        "order": f"{name}_order" if order else "0",
        "weights": f"{name}_weights",
        "multipliers": f"{name}_multipliers",
        "offsets": offsets.fields,
        "surplus": surplus.fields,
        "starts": f"{name}_starts",
        "start_unit": starts.unit,
        "sum_base": starts.sum_base,
        "start_values": starts.numbers.shape[2],
        "start_bytes": starts.number_bytes,
        "segments": f"{name}_segments",
        "plans": f"{{{', '.join(_plan_names(name, layout))}}}",
        "plan_runs": f"{{{', '.join(map(str, layout.plan_runs))}}}",
    }
    flash = np.concatenate([weights.reshape(-1), np.zeros(3, np.uint8)])  # read in whole words
    return Lowered(
        kernel=kernel,
        packing=words,
        files=files,
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", flash)
            + (c_array("uint8_t", f"{name}_order", np.array(order)) if order else "")
            + c_array("int32_t", f"{name}_multipliers", multipliers)
            + offsets.declaration
            + surplus.declaration
            + c_array(starts.c_type, f"{name}_starts", starts.numbers)
            + _rows("le_row_segment", f"{name}_segments", segments)
            + "".join(
                _rows("le_row_plan", f"{name}_plan{way}", plan)
                for way, plan in enumerate(layout.plans)
                if plan
            )
            + c_struct("le_row_layer", f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=flash.size
        + len(order)
        + 4 * multipliers.size
        + offsets.size_bytes
        + surplus.size_bytes
        + starts.number_bytes * starts.numbers.size
        + _SEGMENT_BYTES * len(segments)
        + _PLAN_BYTES * sum(layout.plan_runs)
        + _LAYER_BYTES,
        scratch_bytes=layout.scratch_bytes,
        in_place=(0,) if layout.allows_in_place else (),
        ahead=layout.ahead,
        by_rows=ByRows("le_row_layer", together=layout.rows_together),
        predicted_cycles=layout.cycles,
        limit_macs_per_cycle=4 * packing.pixels * op.weight[0].size / loop,
    )


def _plan_names(name: str, layout: RowLayout) -> list[str]:
    return [f"{name}_plan{way}" if plan else "0" for way, plan in enumerate(layout.plans)]
