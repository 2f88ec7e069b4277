"""Shortcuts that wait as the pixels they are made of, not as what is made of them.

A 1x1 convolution with a stride reads a few pixels of its input. In a residual block that widens,
these take half the bytes of its output, or less: kept by themselves, they let the block's input go
as early as the convolution beside the shortcut has read it, and wait for the sum in less room.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mcuq_lab.graph import Window
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.order import with_few_bytes_alive
from mcuq_lab.quantgraph import QConv2d, QOp, QTensor, QuantGraph
from mcuq_lab.target import Target

_POINT = Window.square(1)


@dataclass(frozen=True, eq=False)
class Subsample(QOp):
    """The first of every `step` pixels, of the first of every `step` rows."""

    step: int


def with_subsampled_shortcuts(graph: QuantGraph) -> QuantGraph:
    """The network with the pixels that strided 1x1 convolutions read as tensors of their own, where
    another operator reads their input, too; `graph` itself if there are none."""
    readers = [name for op in graph.ops for name in op.inputs]
    ops: list[QOp] = []
    tensors = dict(graph.tensors)
    for op in graph.ops:
        if not _reads_some_pixels(op) or readers.count(op.inputs[0]) == 1:
            ops.append(op)
            continue
        pixels = replace(
            tensors[op.inputs[0]],
            name=f"{op.name}_pixels",
            shape=replace(tensors[op.output].shape, c=tensors[op.inputs[0]].shape.c),
        )
        tensors[pixels.name] = pixels
        ops.append(Subsample(pixels.name, op.inputs, pixels.name, op.window.stride_h))
        ops.append(replace(op, inputs=(pixels.name,), window=_POINT))
    if len(ops) == len(graph.ops):
        return graph
    return replace(graph, ops=tuple(ops), tensors=tensors)


def variants(graph: QuantGraph) -> tuple[QuantGraph, ...]:
    """`graph`, and if it has such shortcuts, the network with them subsampled, in an order in which
    few bytes wait."""
    subsampled = with_subsampled_shortcuts(graph)
    return (graph,) if subsampled is graph else (graph, with_few_bytes_alive(subsampled))


def _reads_some_pixels(op: QOp) -> bool:
    if not isinstance(op, QConv2d):
        return False
    step = op.window.stride_h
    return step > 1 and op.window == replace(_POINT, stride_h=step, stride_w=step)


def lower_subsample(
    op: QOp, tensors: Mapping[str, QTensor], target: Target, /
) -> tuple[Lowered, ...]:
    """Any `Subsample`: a copy of whole words where pixels are such, else of bytes."""
    if not isinstance(op, Subsample):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    pixel_bytes, shape = source.pixel_bytes, output.shape
    units = pixel_bytes // 4 if pixel_bytes % 4 == 0 else pixel_bytes
    kernel = f"le_subsample_{pixel_bytes}"
    parameters = (
        "const uint8_t *in, uint8_t *out, uint32_t rows, uint32_t columns, uint32_t step, "
        "uint32_t row_step"
    )
    body = f"le_subsample(in, out, rows, columns, step, row_step, {pixel_bytes});"
    sizes = (shape.h, shape.w, op.step * pixel_bytes, op.step * source.shape.w * pixel_bytes)
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, parameters, body, ("le_layout.h",)),
        declarations="",
        call=f"{kernel}({{in0}}, {{out}}, {', '.join(map(str, sizes))});",
        weights_bytes=0,
        predicted_cycles=shape.h * (20 + shape.w * (5 + 3 * units)),
    )
    return (way,)
