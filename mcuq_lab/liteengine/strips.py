"""Neighbouring layers of a network, strip by strip: the maps between them never exist whole.

The layers take turns. In each turn a layer adds a few rows to its output, as far as its inputs
reach, and the rows that no later window sees are dropped; the others wait for the next strip, so
that no row is computed twice. Per-patch inference (MCUNetV2, Lin et al. 2021, section 3.1) has the
same aim, but computes what patches share again.

Numbers of rows are of the form `step * strip + lead`: a layer's last one decides how many rows each
map needs, from the last layer back to the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product

from mcuq_lab.liteengine.lowering import Ahead, ahead_of_input
from mcuq_lab.liteengine.memory import ALIGNMENT_BYTES
from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConv2d,
    QDepthwiseConv2d,
    QMaxPool,
    QOp,
    QTensor,
    QuantGraph,
)
from mcuq_lab.sources import joined_name

_ROWS, _UNITS = (1, 2, 4, 8, 16), (1, 2, 4)

_BY_ROWS = (QConv2d, QDepthwiseConv2d, QAveragePool, QMaxPool, QAdd)


@dataclass(frozen=True)
class Turns:
    """After strip i, the first `step * i + lead` rows of a map are written, at most all."""

    step: int
    lead: int

    def end(self, strip: int, height: int) -> int:
        return min(max(self.step * strip + self.lead, 0), height)


@dataclass(frozen=True)
class Sight:
    """Vertically, output row y sees input rows y * stride - pad_top up to `kernel` behind that."""

    kernel: int
    stride: int
    pad_top: int

    @staticmethod
    def of(op: QOp) -> Sight:
        window = getattr(op, "window", None)
        if window is None:
            return Sight(1, 1, 0)
        return Sight(window.kernel_h, window.stride_h, window.pad_top)

    def first(self, row: int) -> int:
        """First input row of output row `row`; negative in the padding."""
        return row * self.stride - self.pad_top

    def end(self, rows: int) -> int:
        """Input rows that the first `rows` output rows see."""
        return self.first(rows - 1) + self.kernel

    def reached(self, rows: int) -> int:
        """Output rows that the first `rows` input rows suffice for."""
        return (rows + self.pad_top - self.kernel) // self.stride + 1


@dataclass(frozen=True, eq=False)
class Strips(QOp):
    """Neighbouring operators of a network as one, computed strip by strip.

    Attributes:
        ops: the operators, in execution order; the last one writes `output`, which exists whole,
            like the input. No other operator reads what lies between.
        tensors: of the network.
        turns: rows of each operator's output, by its name.
        homes: for each tensor written, the one in whose place its rows lie: its own, or that of a
            sum that replaces it value by value.
        over: for tensors written over the rows of another one that nobody reads afterwards, that
            one, see `strip_overlap.py`; the sum of them and the input then replaces the input.
        first_strip: number of the first strip; negative where some strips only lead up to the
            first output rows.
        strips: number behind the last strip.
    """

    ops: tuple[QOp, ...]
    tensors: Mapping[str, QTensor]
    turns: Mapping[str, Turns]
    homes: Mapping[str, str]
    over: Mapping[str, str]
    first_strip: int
    strips: int

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

    def readers(self, tensor: str) -> tuple[QOp, ...]:
        return tuple(op for op in self.ops if tensor in op.inputs)

    def writer(self, tensor: str) -> QOp:
        return next(op for op in self.ops if op.output == tensor)

    def first_kept(self, tensor: str) -> Turns:
        """The first row of a tensor that any window sees after strip i, before clipping."""
        sights = [(self.turns[op.name], Sight.of(op)) for op in self.readers(tensor)]
        firsts = [Turns(turns.step * s.stride, s.first(turns.lead)) for turns, s in sights]
        return min(firsts, key=lambda turns: turns.lead)

    @cached_property
    def maps(self) -> tuple[str, ...]:
        """Tensors that exist in strips, with a place of their own."""
        return tuple(
            op.output
            for op in self.ops
            if op.output != self.output
            and self.homes[op.output] == op.output
            and op.output not in self.over
        )

    def map_rows(self, tensor: str) -> int:
        """Rows of a tensor that must fit its place, but for `front_rows`."""
        turns = self.turns[self.writer(tensor).name]
        height = self.tensors[tensor].shape.h
        return _most_rows(turns, self.first_kept(tensor), height, self.first_strip, self.strips)

    def front_rows(self, tensor: str) -> int:
        """Rows in front of a tensor's first one: padding of the layer that writes over it."""
        return sum(
            Sight.of(self.writer(name)).pad_top
            for name, under in self.over.items()
            if under == tensor
        )

    def row_bytes(self, tensor: str) -> int:
        return self.tensors[tensor].shape.w * self.tensors[tensor].pixel_bytes

    @property
    def places(self) -> Mapping[str, int]:
        """Where the first row of each of `maps` lies, in bytes."""
        places, at = {}, 0
        for tensor in self.maps:
            places[tensor] = at + self.front_rows(tensor) * self.row_bytes(tensor)
            at += self._place_bytes(tensor)
        return places

    @cached_property
    def maps_bytes(self) -> int:
        """Of all maps that exist in strips."""
        return sum(map(self._place_bytes, self.maps))

    @cached_property
    def stage_bytes(self) -> int:
        """What the operators in strips need beside scratch: maps, input and output."""
        source, output = (self.tensors[name] for name in (self.inputs[0], self.output))
        lead = 0 if self.over else max(self.ahead[0].lead_bytes, 0)
        return self.maps_bytes + max(output.size_bytes, lead + source.size_bytes)

    def _place_bytes(self, tensor: str) -> int:
        size = (self.front_rows(tensor) + self.map_rows(tensor)) * self.row_bytes(tensor)
        return -(-size // ALIGNMENT_BYTES) * ALIGNMENT_BYTES

    def calls(self, op: QOp) -> tuple[tuple[int, int], ...]:
        """Of each call for an operator, its input and output rows."""
        source = self.tensors[op.inputs[0]].shape.h
        strips = self.first_strip, self.strips
        return _calls(self.turns[op.name], Sight.of(op), source, self.height(op), *strips)

    def strip_tensors(self, op: QOp) -> dict[str, QTensor]:
        """The tensors of an operator, as high as those of its largest call."""
        in_h = max(rows for rows, _ in self.calls(op))
        out_h = max(rows for _, rows in self.calls(op))
        heights = dict.fromkeys(op.inputs, in_h) | {op.output: out_h}
        return {name: _with_height(self.tensors[name], h) for name, h in heights.items()}

    @cached_property
    def ahead(self) -> tuple[Ahead, ...]:
        """How far the output may overlap the input."""
        return ahead_of_input(self.tensors[self.inputs[0]], self._written_and_unread())

    def _written_and_unread(self) -> Iterator[tuple[int, int]]:
        """At each call that writes output rows: bytes written, and the first one yet to be read;
        what the call itself reads counts as well."""
        source = self.inputs[0]
        done = dict.fromkeys((op.name for op in self.ops), 0)
        for strip in range(self.first_strip, self.strips):
            for op in self.ops:
                end = self.turns[op.name].end(strip, self.height(op))
                unread = [
                    max(Sight.of(reader).first(done[reader.name]), 0)
                    for reader in self.readers(source)
                    if done[reader.name] < self.height(reader)
                ]
                if self.homes[op.output] == self.output and unread:
                    yield end * self.row_bytes(self.output), min(unread) * self.row_bytes(source)
                done[op.name] = end


@lru_cache(maxsize=1 << 14)
def _most_rows(written: Turns, kept: Turns, height: int, first_strip: int, strips: int) -> int:
    """Rows of a map that are written and still to be read at any time."""
    first = end = most = 0
    for strip in range(first_strip, strips):
        end = written.end(strip, height)
        most = max(most, end - first)
        first = min(max(first, kept.step * strip + kept.lead), end)
    return most


@lru_cache(maxsize=1 << 14)
def _calls(
    turns: Turns, sight: Sight, source: int, height: int, first_strip: int, strips: int
) -> tuple[tuple[int, int], ...]:
    """Input and output rows of each call for an operator on `source` rows."""
    found, first = [], 0
    for strip in range(first_strip, strips):
        end = turns.end(strip, height)
        if end > first:
            rows = min(sight.end(end), source) - max(sight.first(first), 0)
            found.append((rows, end - first))
        first = end
    return tuple(found)


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
    ops, tensors = graph.ops[first:end], graph.tensors
    if len(ops) < 2 or not all(map(_runs_by_rows, ops)):
        return None
    output = ops[-1].output
    outside = {name for op in graph.ops[end:] for name in op.inputs} | {graph.output_name}
    inside = {op.output for op in ops}
    if inside & outside != {output} or any(output in op.inputs for op in ops):
        return None
    sources = {name for op in ops for name in op.inputs} - inside
    if len(sources) != 1:
        return None
    turns = _turns(ops, rows, unit)
    if turns is None:
        return None
    strips = Strips(
        name=joined_name(ops[0].name, ops[-1].name),
        inputs=tuple(sources),
        output=output,
        ops=ops,
        tensors=tensors,
        turns=turns,
        homes=_homes(ops, tensors),
        over={},
        first_strip=0,
        strips=-(-tensors[output].shape.h // rows),
    )
    return _led_up(_ahead_of_need(strips, unit))


def all_heights(graph: QuantGraph, end: int, first: int = 0) -> Iterator[Strips]:
    """The operators `first` to `end` - 1 in strips of different heights."""
    height = graph.tensors[graph.ops[end - 1].output].shape.h
    for rows, unit in product(_ROWS, _UNITS):
        if rows < height and rows % unit == 0:
            strips = in_strips(graph, end, rows, unit, first)
            if strips is None:
                return
            yield strips


def starts(graph: QuantGraph, index: int) -> tuple[int, ...]:
    """Where strips that compute operator `index`, too, may begin: at the first operator, or at the
    last one in front of it where one tensor alone is alive."""
    alone = 0
    for first in range(1, index + 1):
        outputs = {op.output for op in graph.ops[:first]} | {graph.input_name}
        later = {name for op in graph.ops[first:] for name in op.inputs} | {graph.output_name}
        if len(outputs & later) == 1:
            alone = first
    return (0, alone) if alone else (0,)


def with_strips(graph: QuantGraph, strips: Strips) -> QuantGraph:
    """The network with these operators as one."""
    first, end = strips.span(graph)
    return replace(graph, ops=(*graph.ops[:first], strips, *graph.ops[end:]))


def parts(op: QOp) -> tuple[QOp, ...]:
    """The operators of a network that `op` computes."""
    return op.ops if isinstance(op, Strips) else (op,)


def _runs_by_rows(op: QOp) -> bool:
    if not isinstance(op, _BY_ROWS):
        return False
    window = getattr(op, "window", None)
    # No window lies in the padding altogether.
    return window is None or max(window.pad_top, window.pad_bottom) < window.kernel_h


def _turns(ops: Sequence[QOp], rows: int, unit: int) -> dict[str, Turns] | None:
    """From the last operator back to the first, as few rows as those behind need."""
    needs: dict[str, list[Turns]] = {ops[-1].output: [Turns(rows, rows)]}
    turns = {}
    for op in reversed(ops):
        wanted = needs.get(op.output, [])
        if len({need.step for need in wanted}) != 1:
            return None
        step, lead = wanted[0].step, max(need.lead for need in wanted)
        lead = -(-lead // unit) * unit
        turns[op.name] = Turns(step, lead)
        sight = Sight.of(op)
        need = Turns(step * sight.stride, sight.end(lead))
        for name in op.inputs:
            needs.setdefault(name, []).append(need)
    return turns


def _homes(ops: Sequence[QOp], tensors: Mapping[str, QTensor]) -> dict[str, str]:
    """Sums replace one operand, if nobody else reads it and it is as wide: the one written last."""
    homes = {op.output: op.output for op in ops}
    for op in reversed(ops):
        if isinstance(op, QAdd):
            operands = [
                other.output
                for other in ops
                if other.output in op.inputs
                and sum(name == other.output for reader in ops for name in reader.inputs) == 1
                and tensors[other.output].storage_bits == tensors[op.output].storage_bits
            ]
            if operands:
                homes[operands[-1]] = homes[op.output]
    return homes


def _ahead_of_need(strips: Strips, unit: int) -> Strips:
    """The same, with operators as early as their inputs allow where that takes fewer bytes."""
    written, least = {op.output: op for op in strips.ops}, strips.maps_bytes
    for op in strips.ops:
        sources = [written.get(name) for name in op.inputs]
        if op.output == strips.output or strips.homes[op.output] != op.output or None in sources:
            continue
        lead = min(Sight.of(op).reached(strips.turns[source.name].lead) for source in sources)
        lead -= lead % unit
        earlier = replace(
            strips, turns={**strips.turns, op.name: replace(strips.turns[op.name], lead=lead)}
        )
        if lead == strips.turns[op.name].lead or not _operands_together(earlier):
            continue
        if (size := earlier.maps_bytes) < least:
            strips, least = earlier, size
    return strips


def _operands_together(strips: Strips) -> bool:
    """Whether operands that a sum replaces have as many rows as the sum."""
    by_output = {op.output: strips.turns[op.name] for op in strips.ops}
    return all(by_output[name] == by_output[home] for name, home in strips.homes.items())


def _led_up(strips: Strips) -> Strips:
    """The same, with as many strips in front of the first output rows as save bytes."""
    surplus = max(-(-(turns.lead - turns.step) // turns.step) for turns in strips.turns.values())
    ways = [replace(strips, first_strip=-number) for number in range(max(surplus, 0) + 1)]
    return min(ways, key=lambda way: (way.maps_bytes, -way.first_strip))


def _with_height(tensor: QTensor, h: int) -> QTensor:
    return replace(tensor, shape=replace(tensor.shape, h=h))
