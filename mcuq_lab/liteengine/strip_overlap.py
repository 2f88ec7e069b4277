"""Strips of a residual block in less room: rows that nobody reads any more are written over.

The second convolution's output lies over the rows of its own input, and the sum over the block's
input, which otherwise has to begin a strip in front of it.
"""

from __future__ import annotations

from dataclasses import replace

from mcuq_lab.liteengine.strips import Strips


def over_inputs(strips: Strips) -> Strips:
    """The same in less room, if the last operator adds the input to what a convolution has written:
    its output lies over its own input, row r where its window begins, and the sum replaces the
    network's input. No row of either is read later. `strips` itself where that is not so.
    """
    geometry, tensors = strips.geometry.over_inputs, strips.tensors
    if geometry is None:
        return strips
    ((convolved, under),) = geometry.over.items()
    alike = [tensors[name] for name in (strips.inputs[0], convolved, strips.output)]
    if (
        strips.row_bytes(under) != strips.row_bytes(convolved)
        or len({(tensor.shape, tensor.storage_bits) for tensor in alike}) != 1
    ):
        return strips
    return replace(strips, geometry=geometry)
