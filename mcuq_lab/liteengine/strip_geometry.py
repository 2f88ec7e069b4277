"""Layers in strips as far as heights and windows decide: which rows are written, kept and read.

A search plans thousands of networks that differ in nothing but widths. What their strips have in
common is worked out once for all of them, see `strip_topology.py`; `strips.py` knows the widths,
and so the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

from mcuq_lab.quantgraph import (
    QAdd,
    QAveragePool,
    QConv2d,
    QDepthwiseConv2d,
    QMaxPool,
    QOp,
    QTensor,
)

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


@dataclass(frozen=True)
class RowOp:
    """What counts of an operator.

    Attributes:
        name, inputs, output: its own.
        source_height, height: rows of its first input and of its output.
        sight: what rows it sees.
        by_rows: whether it can be computed some rows at a time.
        is_sum: whether it may replace an operand value by value.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    source_height: int
    height: int
    sight: Sight
    by_rows: bool
    is_sum: bool

    @staticmethod
    def of(op: QOp, tensors: Mapping[str, QTensor]) -> RowOp:
        heights = tensors[op.inputs[0]].shape.h, tensors[op.output].shape.h
        is_sum = isinstance(op, QAdd)
        return RowOp(
            op.name, op.inputs, op.output, *heights, Sight.of(op), _runs_by_rows(op), is_sum
        )


@dataclass(frozen=True, eq=False)
class Geometry:
    """Which rows there are at what time.

    Attributes:
        ops, source, output: of the group.
        unit: strips' rows are multiples of it, but for the last one's.
        turns, homes, over, first_strip, strips: see `strips.Strips`.
    """

    ops: tuple[RowOp, ...]
    source: str
    output: str
    unit: int
    turns: Mapping[str, Turns]
    homes: Mapping[str, str]
    over: Mapping[str, str]
    first_strip: int
    strips: int
    _shares: dict = field(default_factory=dict, init=False)

    @cached_property
    def by_name(self) -> Mapping[str, RowOp]:
        return {op.name: op for op in self.ops}

    @cached_property
    def by_output(self) -> Mapping[str, RowOp]:
        return {op.output: op for op in self.ops}

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

    def first_kept(self, tensor: str) -> Turns:
        """The first row of a tensor that any window sees after strip i, before clipping."""
        readers = [(self.turns[op.name], op.sight) for op in self._readers(tensor)]
        firsts = [Turns(turns.step * s.stride, s.first(turns.lead)) for turns, s in readers]
        return min(firsts, key=lambda turns: turns.lead)

    def map_rows(self, tensor: str) -> int:
        """Rows of a tensor that must fit its place, but for `front_rows`."""
        writer, kept = self.by_output[tensor], self.first_kept(tensor)
        return _most_rows(
            self.turns[writer.name], kept, writer.height, self.first_strip, self.strips
        )

    def front_rows(self, tensor: str) -> int:
        """Rows in front of a tensor's first one: padding of the layer that writes over it."""
        return sum(
            self.by_output[name].sight.pad_top
            for name, under in self.over.items()
            if under == tensor
        )

    @cached_property
    def place_rows(self) -> tuple[tuple[str, int], ...]:
        """Each of `maps` with the rows of its place."""
        return tuple((name, self.front_rows(name) + self.map_rows(name)) for name in self.maps)

    @cached_property
    def moved_rows(self) -> tuple[tuple[str, int], ...]:
        """Each of `maps` with the rows that a strip leaves to the next one."""
        return tuple(
            (name, max(self.turns[self.by_output[name].name].lead - self.first_kept(name).lead, 0))
            for name in self.maps
        )

    @cached_property
    def calls(self) -> Mapping[str, tuple[tuple[int, int], ...]]:
        """By the operator's name, of each call its input and output rows."""
        strips = self.first_strip, self.strips
        return {
            op.name: _calls(self.turns[op.name], op.sight, op.source_height, op.height, *strips)
            for op in self.ops
        }

    @cached_property
    def demands(self) -> Mapping[str, tuple[frozenset[int], bool]]:
        """By the operator's name, what a way must allow to compute it in strips: inputs at whose
        very address the output lies, and whether it is written over other rows of its input."""
        return {op.name: (self._replaced(op), op.output in self.over) for op in self.ops}

    def _replaced(self, op: RowOp) -> frozenset[int]:
        # An operand that the sum replaces lies at the sum's very address.
        replaced = {i for i, name in enumerate(op.inputs) if self.homes.get(name, name) != name}
        if self.over and op is self.ops[-1]:
            replaced.add(op.inputs.index(self.source))
        return frozenset(replaced)

    @cached_property
    def call_count(self) -> int:
        """Of all operators together."""
        return sum(map(len, self.calls.values()))

    def share_of_rows(self, name: str, unit: int) -> float:
        """Rows that an operator's kernel computes in strips, `unit` together, as a share of those
        of the whole map."""
        if (name, unit) not in self._shares:
            rows = sum(whole_rows(out_h, unit) for _, out_h in self.calls[name])
            self._shares[name, unit] = rows / whole_rows(self.by_name[name].height, unit)
        return self._shares[name, unit]

    @cached_property
    def written_and_unread(self) -> tuple[tuple[int, int], ...]:
        """At calls that write output rows: rows written, and the first one of the source yet to be
        read; what the call itself reads counts as well. Of calls with the same unread row, the one
        with most rows written."""
        written: dict[int, int] = {}
        for end, unread in self._written_and_unread():
            written[unread] = max(end, written.get(unread, 0))
        return tuple((end, unread) for unread, end in written.items())

    def _written_and_unread(self) -> Iterator[tuple[int, int]]:
        done = dict.fromkeys(self.by_name, 0)
        readers = self._readers(self.source)
        for strip in range(self.first_strip, self.strips):
            for op in self.ops:
                end = self.turns[op.name].end(strip, op.height)
                unread = [
                    max(reader.sight.first(done[reader.name]), 0)
                    for reader in readers
                    if done[reader.name] < reader.height
                ]
                if self.homes[op.output] == self.output and unread:
                    yield end, min(unread)
                done[op.name] = end

    @cached_property
    def ahead_of_need(self) -> tuple[tuple[int, Geometry], ...]:
        """The same with one operator as early as its inputs allow, for each where that is earlier
        or later than now; first its place among the operators."""
        return tuple(self._ahead_of_need())

    def _ahead_of_need(self) -> Iterator[tuple[int, Geometry]]:
        for index, op in enumerate(self.ops):
            sources = [self.by_output.get(name) for name in op.inputs]
            if op.output == self.output or self.homes[op.output] != op.output or None in sources:
                continue
            lead = min(op.sight.reached(self.turns[source.name].lead) for source in sources)
            lead -= lead % self.unit
            now = self.turns[op.name]
            if lead == now.lead:
                continue
            moved = replace(self, turns={**self.turns, op.name: replace(now, lead=lead)})
            if moved._operands_together():
                yield index, moved

    def _operands_together(self) -> bool:
        """Whether operands that a sum replaces have as many rows as the sum."""
        turns = {op.output: self.turns[op.name] for op in self.ops}
        return all(turns[name] == turns[home] for name, home in self.homes.items())

    @cached_property
    def led_up(self) -> tuple[Geometry, ...]:
        """The same with none, one, and more strips in front of the first output rows; none where a
        map, or all, have as many rows as with fewer such strips."""
        surplus = max(-(-(turns.lead - turns.step) // turns.step) for turns in self.turns.values())
        found: list[Geometry] = []
        for number in range(max(surplus, 0) + 1):
            some = replace(self, first_strip=-number)
            if not any(some._takes_as_many_rows(known) for known in found):
                found.append(some)
        return tuple(found)

    def _takes_as_many_rows(self, other: Geometry) -> bool:
        """Whether every map takes as many rows as in `other`, or more."""
        pairs = zip(self.place_rows, other.place_rows, strict=True)
        return all(own >= others for (_, own), (_, others) in pairs)

    @cached_property
    def over_inputs(self) -> Geometry | None:
        """The last operator adds the source to what a convolution has written: the convolution's
        output lies over its own input, and the sum replaces the source; None where rows forbid it,
        see `strip_overlap.py`."""
        last = self.ops[-1]
        if not last.is_sum or self.source not in last.inputs:
            return None
        convolved = next(name for name in last.inputs if name != self.source)
        op = self.by_output[convolved]
        under = op.inputs[0]
        if (
            len(op.inputs) != 1
            or under not in self.maps
            or op.sight.stride != 1
            or len(self._readers(under)) != 1
            or self.turns[op.name] != self.turns[last.name]
            or self.homes[convolved] != last.output
            or not self._source_is_ahead()
        ):
            return None
        return replace(self, homes={**self.homes, convolved: convolved}, over={convolved: under})

    def _source_is_ahead(self) -> bool:
        """Whether all operators but the last one have read the rows of the source that it
        replaces."""
        last = self.ops[-1]
        for strip in range(self.first_strip, self.strips):
            written = self.turns[last.name].end(strip, last.height)
            for op in self._readers(self.source):
                done = self.turns[op.name].end(strip, op.height)
                if op is not last and done < op.height and op.sight.first(done) < written:
                    return False
        return True

    def _readers(self, tensor: str) -> tuple[RowOp, ...]:
        return tuple(op for op in self.ops if tensor in op.inputs)


def whole_rows(rows: int, unit: int) -> int:
    """The next multiple of `unit`."""
    return -(-rows // unit) * unit


def _runs_by_rows(op: QOp) -> bool:
    if not isinstance(op, _BY_ROWS):
        return False
    window = getattr(op, "window", None)
    # No window lies in the padding altogether.
    return window is None or max(window.pad_top, window.pad_bottom) < window.kernel_h


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
