"""The text of mcuq_lab.quantgraph, transcribed element by element with Python integers."""

from __future__ import annotations

import numpy as np

from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConcat,
    QDepthwiseConv2d,
    QFlatten,
    QFullyConnected,
    QMaxPool,
)


def clamp(value: int, bits: int) -> int:
    return max(0, min(value, 2**bits - 1))


def requantize(acc: int, p, oc: int) -> int:
    start, multiplier, offset = (int(a[oc]) for a in (p.start, p.multiplier, p.offset))
    assert acc + start >= 0
    assert (acc + start) << p.pre_shift < 2**31
    t = (((acc + start) << p.pre_shift) * multiplier) >> 32
    assert abs(t + offset) < 2**31
    return clamp((t + offset) >> p.shift, p.bits)


def pixels(x, window, oy: int, ox: int, outside: int, c: int):
    """Values of channel c under the kernel at output (oy, ox), with their tap."""
    for ky in range(window.kernel_h):
        for kx in range(window.kernel_w):
            y = oy * window.stride_h + ky - window.pad_top
            z = ox * window.stride_w + kx - window.pad_left
            inside = 0 <= y < x.shape[0] and 0 <= z < x.shape[1]
            yield ky, kx, int(x[y, z, c]) if inside else outside


def run(graph, image):
    """Every tensor of one image: {name: (h, w, c)}."""
    values = {graph.input_name: np.asarray(image)}
    for op in graph.ops:
        values[op.output] = element_by_element(graph, op, [values[name] for name in op.inputs])
    return values


def element_by_element(graph, op, arrays):
    shape = graph.tensors[op.output].shape
    out = np.zeros((shape.h, shape.w, shape.c), np.int64)
    x, source = arrays[0], graph.tensors[op.inputs[0]]
    if isinstance(op, QFlatten):
        return np.array([v for row in x for pixel in row for v in pixel]).reshape(1, 1, -1)
    if isinstance(op, QConcat):
        return np.concatenate(arrays, axis=2)
    for oy, ox, oc in np.ndindex(out.shape):
        out[oy, ox, oc] = element(op, arrays, source, oy, ox, oc)
    return out


def element(op, arrays, source, oy, ox, oc):
    x = arrays[0]
    if isinstance(op, QAdd):
        a, b = (int(array[oy, ox, oc]) for array in arrays)
        total = a * op.multiplier_a + b * op.multiplier_b + op.offset
        return clamp(total >> op.shift, op.bits)
    if isinstance(op, QMaxPool):
        return max(v for _, _, v in pixels(x, op.window, oy, ox, 0, oc))
    if isinstance(op, QAveragePool):
        total = sum(v for _, _, v in pixels(x, op.window, oy, ox, 0, oc))
        return requantize(total, op.requantize, 0)
    if isinstance(op, QFullyConnected):
        acc = sum(int(w) * int(u) for w, u in zip(op.weight[oc], x.ravel(), strict=True))
        return requantize(acc, op.requantize, oc)
    depthwise = isinstance(op, QDepthwiseConv2d)
    acc = 0
    for ic in range(1 if depthwise else x.shape[2]):
        channel = oc if depthwise else ic
        for ky, kx, u in pixels(x, op.window, oy, ox, source.zero_point, channel):
            acc += int(op.weight[oc, ky, kx, ic]) * u
    return requantize(acc, op.requantize, oc)
