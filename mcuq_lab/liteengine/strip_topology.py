"""Networks without their widths: where strips may begin and end, and their geometry, found once.

Numbers of rows are of the form `step * strip + lead`: a layer's last one decides how many rows each
map needs, from the last layer back to the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from mcuq_lab.liteengine.strip_geometry import Geometry, RowOp, Turns, whole_rows
from mcuq_lab.quantgraph import QuantGraph

_MOST_GRAPHS = 8
"""Each is kept alive with its weights."""

_MOST_TOPOLOGIES = 64

_MOST_GEOMETRIES = 2048
"""Of some kilobytes each."""


@dataclass(frozen=True)
class Topology:
    """A network without its widths: operators in execution order."""

    ops: tuple[RowOp, ...]
    input_name: str
    output_name: str
    _groups: dict = field(default_factory=dict, init=False, compare=False)
    _starts: dict = field(default_factory=dict, init=False, compare=False)

    @staticmethod
    def of(graph: QuantGraph) -> Topology:
        """Equal ones are the same object."""
        return _topology(graph)

    def group(self, first: int, end: int) -> Group | None:
        """The operators `first` to `end` - 1, None if they cannot run in strips."""
        if (first, end) not in self._groups:
            self._groups[first, end] = self._group(first, end)
        return self._groups[first, end]

    def _group(self, first: int, end: int) -> Group | None:
        ops = self.ops[first:end]
        if len(ops) < 2 or not all(op.by_rows for op in ops):
            return None
        output = ops[-1].output
        outside = {name for op in self.ops[end:] for name in op.inputs} | {self.output_name}
        inside = {op.output for op in ops}
        if inside & outside != {output} or any(output in op.inputs for op in ops):
            return None
        sources = {name for op in ops for name in op.inputs} - inside
        return Group(ops, *sources, output) if len(sources) == 1 else None

    def starts(self, index: int) -> tuple[int, ...]:
        """Where strips that compute operator `index`, too, may begin: at the first operator, or at
        the last one in front of it where one tensor alone is alive."""
        if index not in self._starts:
            self._starts[index] = self._found_starts(index)
        return self._starts[index]

    def _found_starts(self, index: int) -> tuple[int, ...]:
        alone = 0
        for first in range(1, index + 1):
            outputs = {op.output for op in self.ops[:first]} | {self.input_name}
            later = {name for op in self.ops[first:] for name in op.inputs} | {self.output_name}
            if len(outputs & later) == 1:
                alone = first
        return (0, alone) if alone else (0,)


@dataclass(frozen=True, eq=False)
class Group:
    """Neighbouring operators that can run in strips: all of them by rows, what they read of others
    is one tensor, `source`, and what others read of them is `output`, which the last one writes."""

    ops: tuple[RowOp, ...]
    source: str
    output: str

    @cached_property
    def operands(self) -> Mapping[str, tuple[str, ...]]:
        """For the output of each sum, from the last one to the first, those of its operands that
        nobody else reads, in the order in which they are written."""
        reads = [name for op in self.ops for name in op.inputs]
        return {
            op.output: tuple(
                other.output
                for other in self.ops
                if other.output in op.inputs and reads.count(other.output) == 1
            )
            for op in reversed(self.ops)
            if op.is_sum
        }

    def geometry(
        self, rows: int, unit: int, replaced: tuple[tuple[str, str], ...]
    ) -> Geometry | None:
        """In strips of `rows` output rows, no layer earlier than those behind it need.

        Args:
            rows: output rows of a strip.
            unit: a divisor of it, of which all strips' rows are multiples.
            replaced: operands, each with the sum that replaces it; the last sum comes first.

        Returns:
            None where rows do not go into each other.
        """
        return _geometry(self, rows, unit, replaced)


@lru_cache(maxsize=_MOST_GRAPHS)
def _topology(graph: QuantGraph) -> Topology:
    ops = tuple(RowOp.of(op, graph.tensors) for op in graph.ops)
    return _same(Topology(ops, graph.input_name, graph.output_name))


@lru_cache(maxsize=_MOST_TOPOLOGIES)
def _same(topology: Topology) -> Topology:
    """Of equal topologies the first one."""
    return topology


@lru_cache(maxsize=_MOST_GEOMETRIES)
def _geometry(
    group: Group, rows: int, unit: int, replaced: tuple[tuple[str, str], ...]
) -> Geometry | None:
    turns = _turns(group.ops, rows, unit)
    if turns is None:
        return None
    homes = {op.output: op.output for op in group.ops}
    for operand, total in replaced:
        homes[operand] = homes[total]
    return Geometry(
        ops=group.ops,
        source=group.source,
        output=group.output,
        unit=unit,
        turns=turns,
        homes=homes,
        over={},
        first_strip=0,
        strips=-(-group.ops[-1].height // rows),
    )


def _turns(ops: Sequence[RowOp], rows: int, unit: int) -> dict[str, Turns] | None:
    """From the last operator back to the first, as few rows as those behind need."""
    needs: dict[str, list[Turns]] = {ops[-1].output: [Turns(rows, rows)]}
    turns = {}
    for op in reversed(ops):
        wanted = needs.get(op.output, [])
        if len({need.step for need in wanted}) != 1:
            return None
        step, lead = wanted[0].step, max(need.lead for need in wanted)
        lead = whole_rows(lead, unit)
        turns[op.name] = Turns(step, lead)
        need = Turns(step * op.sight.stride, op.sight.end(lead))
        for name in op.inputs:
            needs.setdefault(name, []).append(need)
    return turns
