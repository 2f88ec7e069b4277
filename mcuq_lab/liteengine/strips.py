"""Neighbouring layers of a network, strip by strip: the maps between them never exist whole.

The layers take turns. In each turn a layer adds a few rows to its output, as far as its inputs
reach, and the rows that no later window sees are dropped; the others wait for the next strip, so
that no row is computed twice. Per-patch inference (MCUNetV2, Lin et al. 2021, section 3.1) has the
same aim, but computes what patches share again.

Which rows there are at what time does not depend on widths, see `strip_geometry.py`; which of
several geometries takes the fewest bytes does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product

from mcuq_lab.liteengine.lowering import Ahead, ahead_of_input
from mcuq_lab.liteengine.memory import aligned
from mcuq_lab.liteengine.strip_geometry import Geometry, Turns
from mcuq_lab.liteengine.strip_topology import Group, Topology
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.sources import joined_name

_ROWS, _UNITS = (1, 2, 4, 8, 16), (1, 2, 4)

_MOST_NEIGHBOURS = 8
"""Each keeps its network alive."""


@dataclass(frozen=True, eq=False)
class Strips(QOp):
    """Neighbouring operators of a network as one, computed strip by strip.

    Attributes:
        ops: the operators, in execution order; the last one writes `output`, which exists whole,
            like the input. No other operator reads what lies between.
        tensors: of the network.
        sizes_bytes: of a row of each tensor.
        geometry: which rows there are at what time.
    """

    ops: tuple[QOp, ...]
    tensors: Mapping[str, QTensor]
    sizes_bytes: Mapping[str, int]
    geometry: Geometry

    @property
    def turns(self) -> Mapping[str, Turns]:
        """Rows of each operator's output, by its name."""
        return self.geometry.turns

    @property
    def homes(self) -> Mapping[str, str]:
        """For each tensor written, the one in whose place its rows lie: its own, or that of a sum
        that replaces it value by value."""
        return self.geometry.homes

    @property
    def over(self) -> Mapping[str, str]:
        """For tensors written over the rows of another one that nobody reads afterwards, that one,
        see `strip_overlap.py`; the sum of them and the input then replaces the input."""
        return self.geometry.over

    @property
    def first_strip(self) -> int:
        """Number of the first strip; negative where some strips only lead up to the first output
        rows."""
        return self.geometry.first_strip

    @property
    def strips(self) -> int:
        """Number behind the last strip."""
        return self.geometry.strips

    @property
    def rows(self) -> int:
        """Output rows of a strip."""
        return self.turns[self.ops[-1].name].step

    def span(self, graph: QuantGraph) -> tuple[int, int]:
        """The number of the first operator in `graph`, and of the one behind the last."""
        first = next(i for i, op in enumerate(graph.ops) if op.name == self.ops[0].name)
        return first, first + len(self.ops)

    def height(self, op: QOp) -> int:
        return self.tensors[op.output].shape.h

    def first_kept(self, tensor: str) -> Turns:
        """The first row of a tensor that any window sees after strip i, before clipping."""
        return self.geometry.first_kept(tensor)

    @property
    def maps(self) -> tuple[str, ...]:
        """Tensors that exist in strips, with a place of their own."""
        return self.geometry.maps

    def map_rows(self, tensor: str) -> int:
        """Rows of a tensor that must fit its place, but for those in front of its first one."""
        return self.geometry.map_rows(tensor)

    def row_bytes(self, tensor: str) -> int:
        return self.sizes_bytes[tensor]

    @property
    def places(self) -> Mapping[str, int]:
        """Where the first row of each of `maps` lies, in bytes."""
        places, at = {}, 0
        for tensor, rows in self.geometry.place_rows:
            places[tensor] = at + self.geometry.front_rows(tensor) * self.row_bytes(tensor)
            at += aligned(rows * self.row_bytes(tensor))
        return places

    @cached_property
    def maps_bytes(self) -> int:
        """Of all maps that exist in strips."""
        return _maps_bytes(self.geometry, self.sizes_bytes)

    @cached_property
    def stage_bytes(self) -> int:
        """What the operators in strips need beside scratch: maps, input and output."""
        source, output = (self.tensors[name] for name in (self.inputs[0], self.output))
        lead = 0 if self.over else max(self.ahead[0].lead_bytes, 0)
        return self.maps_bytes + max(output.size_bytes, lead + source.size_bytes)

    def calls(self, op: QOp) -> tuple[tuple[int, int], ...]:
        """Of each call for an operator, its input and output rows."""
        return self.geometry.calls[op.name]

    def strip_tensors(self, op: QOp) -> dict[str, QTensor]:
        """The tensors of an operator, as high as those of its largest call."""
        in_h = max(rows for rows, _ in self.calls(op))
        out_h = max(rows for _, rows in self.calls(op))
        heights = dict.fromkeys(op.inputs, in_h) | {op.output: out_h}
        return {name: _with_height(self.tensors[name], h) for name, h in heights.items()}

    @cached_property
    def ahead(self) -> tuple[Ahead, ...]:
        """How far the output may overlap the input."""
        source = self.tensors[self.inputs[0]]
        written, read = self.row_bytes(self.output), self.row_bytes(source.name)
        steps = self.geometry.written_and_unread
        return ahead_of_input(source, ((end * written, row * read) for end, row in steps))


def in_strips(
    graph: QuantGraph, end: int, rows: int, unit: int = 1, first: int = 0
) -> Strips | None:
    """The operators `first` to `end` - 1 of `graph` as one, `rows` output rows a strip.

    Kernels compute rows in pairs or bands: with a `unit`, a divisor of `rows`, all layers but for
    their last strips go on by multiples of so many rows, and maps have some rows more.

    None where that is not possible: an operator that cannot run by rows, more than one tensor that
    they read of operators in front of them, one of their tensors besides the last one's that is
    read later, or rows that do not go into each other.
    """
    some = _neighbours(graph, first, end)
    geometry = some and some.geometry(rows, unit)
    return some.in_strips(geometry) if geometry else None


def all_heights(graph: QuantGraph, end: int, first: int = 0) -> Iterator[Strips]:
    """The operators `first` to `end` - 1 in strips of different heights."""
    height = graph.tensors[graph.ops[end - 1].output].shape.h
    for rows, unit in product(_ROWS, _UNITS):
        if rows < height and rows % unit == 0:
            strips = in_strips(graph, end, rows, unit, first)
            if strips is None:
                return
            yield strips


def with_strips(graph: QuantGraph, strips: Strips) -> QuantGraph:
    """The network with these operators as one."""
    first, end = strips.span(graph)
    return replace(graph, ops=(*graph.ops[:first], strips, *graph.ops[end:]))


def parts(op: QOp) -> tuple[QOp, ...]:
    """The operators of a network that `op` computes."""
    return op.ops if isinstance(op, Strips) else (op,)


@dataclass(frozen=True, eq=False)
class _Neighbours:
    """Operators of a network that can run in strips.

    Attributes:
        group: the same without widths.
        ops: the operators.
        tensors: of the network.
        sizes_bytes: of a row of each tensor that they read or write.
        replaced: operands, each with the sum that replaces it.
    """

    group: Group
    ops: tuple[QOp, ...]
    tensors: Mapping[str, QTensor]
    sizes_bytes: Mapping[str, int]
    replaced: tuple[tuple[str, str], ...]

    def in_strips(self, geometry: Geometry) -> Strips:
        ops, tensors = self.ops, self.tensors
        name = joined_name(ops[0].name, ops[-1].name)
        inputs, output = (self.group.source,), self.group.output
        return Strips(name, inputs, output, ops, tensors, self.sizes_bytes, geometry)

    def geometry(self, rows: int, unit: int) -> Geometry | None:
        """The one that takes the fewest bytes."""
        found = self.group.geometry(rows, unit, self.replaced)
        return found and self._led_up(self._ahead_of_need(found))

    def _ahead_of_need(self, geometry: Geometry) -> Geometry:
        """The same, with operators as early as their inputs allow where that takes fewer bytes."""
        least, seen = self._maps_bytes(geometry), -1
        while True:
            for index, earlier in geometry.ahead_of_need:
                if index > seen and (size := self._maps_bytes(earlier)) < least:
                    geometry, least, seen = earlier, size, index
                    break
            else:
                return geometry

    def _led_up(self, geometry: Geometry) -> Geometry:
        """The same, with as many strips in front of the first output rows as save bytes."""
        return min(geometry.led_up, key=self._maps_bytes)

    def _maps_bytes(self, geometry: Geometry) -> int:
        return _maps_bytes(geometry, self.sizes_bytes)


@lru_cache(maxsize=_MOST_NEIGHBOURS)
def _neighbours(graph: QuantGraph, first: int, end: int) -> _Neighbours | None:
    """The operators `first` to `end` - 1; None if they cannot run in strips."""
    group, tensors = Topology.of(graph).group(first, end), graph.tensors
    if group is None:
        return None
    names = (group.source, *(op.output for op in group.ops))
    sizes = {name: tensors[name].shape.w * tensors[name].pixel_bytes for name in names}
    replaced = tuple(_replaced(group, tensors))
    return _Neighbours(group, graph.ops[first:end], tensors, sizes, replaced)


def _replaced(group: Group, tensors: Mapping[str, QTensor]) -> Iterator[tuple[str, str]]:
    """Sums replace one operand, if nobody else reads it and it is as wide: the one written last."""
    for total, operands in group.operands.items():
        width = tensors[total].storage_bits
        alike = [name for name in operands if tensors[name].storage_bits == width]
        if alike:
            yield alike[-1], total


def _maps_bytes(geometry: Geometry, sizes_bytes: Mapping[str, int]) -> int:
    return sum([aligned(rows * sizes_bytes[name]) for name, rows in geometry.place_rows])


def _with_height(tensor: QTensor, h: int) -> QTensor:
    return replace(tensor, shape=replace(tensor.shape, h=h))
