"""Strips of a residual block in less room: rows that nobody reads any more are written over.

The second convolution's output lies over the rows of its own input, and the sum over the block's
input, which otherwise has to begin a strip in front of it.
"""

from __future__ import annotations

from dataclasses import replace

from mcuq_lab.liteengine.strips import Sight, Strips
from mcuq_lab.quantgraph import QAdd


def over_inputs(strips: Strips) -> Strips:
    """The same in less room, if the last operator adds the input to what a convolution has written:
    its output lies over its own input, row r where its window begins, and the sum replaces the
    network's input. No row of either is read later. `strips` itself where that is not so.
    """
    last, source, tensors = strips.ops[-1], strips.inputs[0], strips.tensors
    if not isinstance(last, QAdd) or source not in last.inputs:
        return strips
    convolved = next(name for name in last.inputs if name != source)
    op = strips.writer(convolved)
    under = op.inputs[0]
    alike = [tensors[name] for name in (source, convolved, last.output)]
    if (
        len(op.inputs) != 1
        or under not in strips.maps
        or Sight.of(op).stride != 1
        or len(strips.readers(under)) != 1
        or strips.turns[op.name] != strips.turns[last.name]
        or strips.row_bytes(under) != strips.row_bytes(convolved)
        or strips.homes[convolved] != last.output
        or len({(tensor.shape, tensor.storage_bits) for tensor in alike}) != 1
        or not _input_is_ahead(strips)
    ):
        return strips
    homes = {**strips.homes, convolved: convolved}
    return replace(strips, homes=homes, over={convolved: under})


def _input_is_ahead(strips: Strips) -> bool:
    """Whether all operators but the last one have read the rows of the input that it replaces."""
    source, last = strips.inputs[0], strips.ops[-1]
    for strip in range(strips.first_strip, strips.strips):
        written = strips.turns[last.name].end(strip, strips.height(last))
        for op in strips.readers(source):
            done = strips.turns[op.name].end(strip, strips.height(op))
            if op is not last and done < strips.height(op) and Sight.of(op).first(done) < written:
                return False
    return True
