"""Whether the first layers run in strips, which of them, and how many rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from mcuq_lab.errors import FitError
from mcuq_lab.liteengine.footprint import Needs, Ways, fewest_cycles, needs_of
from mcuq_lab.liteengine.free_strips import StripEstimate, free_strips
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.order import with_few_bytes_alive
from mcuq_lab.liteengine.schedule import Family, fitting_ways, schedule
from mcuq_lab.liteengine.strip_lowering import StripFamily
from mcuq_lab.liteengine.strips import Strips, all_heights, with_strips
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.target import Target

TOLERABLE = 1.01
"""A budget that costs less than this times the cycles of the fastest kernels asks for no strips."""

_MOST_FITTING = 5
"""Strips to choose from, of those that meet the budget: they are tried in order of an estimate."""
_MOST_FAILURES = 3
"""Strips to try for the least bytes, where none meet the budget."""

ANY_BYTES = 1 << 40

Network = tuple[QuantGraph, tuple[Lowered, ...]]


@dataclass(frozen=True, eq=False)
class _Bench:
    """What a network is scheduled with."""

    families: Sequence[Family]
    measured_cycles: Mapping[str, int] | None
    target: Target

    @property
    def arguments(self) -> tuple:
        """Behind the network, of `schedule` and `fitting_ways`."""
        return self.families, self.measured_cycles, self.target

    def schedule(self, network: QuantGraph) -> Network:
        return network, schedule(network, *self.arguments)

    def cycles(self, network: QuantGraph) -> int:
        """Of the fastest kernels that fit the arena; FitError where an operator has none."""
        return fewest_cycles(self.ways(network))

    def ways(self, network: QuantGraph) -> Ways:
        """Of all operators that fit the arena, with their cycles."""
        return fitting_ways(network, *self.arguments)

    def within(self, arena_bytes: int) -> _Bench:
        return replace(self, target=replace(self.target, arena_bytes=arena_bytes))


def scheduled(
    graph: QuantGraph,
    families: Sequence[Family],
    measured_cycles: Mapping[str, int] | None,
    target: Target,
    strips: Strips | None,
) -> Network:
    """The network to run, with kernels: `graph`, or that with its first operators in strips; in an
    order in which few bytes wait.

    With a budget of arena, strips are for what is not met otherwise, or only by slow kernels. Then
    the fewest predicted cycles decide. Without one they are for bytes that cost next to nothing,
    see `free_strips`. With `strips` given, nothing is chosen.

    Raises:
        ModelError, FitError: as `schedule`.
    """
    bench = _Bench(with_strip_family(families), measured_cycles, target)
    if strips is not None:
        return bench.schedule(with_few_bytes_alive(with_strips(graph, strips)))
    graph = with_few_bytes_alive(graph)
    if target.arena_bytes is None:
        return _unasked(graph, bench)
    try:
        best, cycles, unfit = graph, bench.cycles(graph), None
    except FitError as error:
        best, cycles, unfit = None, None, error
    if best is not None and cycles <= TOLERABLE * bench.within(ANY_BYTES).cycles(graph):
        return bench.schedule(graph)
    ways = _Strippable.of(graph, bench)
    fitting = 0
    for strips in ways.within(target.arena_bytes):
        network = with_strips(graph, strips)
        try:
            count = bench.cycles(network)
        except FitError as error:
            unfit = error if unfit is None else min(unfit, error, key=_missing_bytes)
            continue
        if best is None or count < cycles:
            best, cycles = network, count
        fitting += 1
        if fitting == _MOST_FITTING:
            break
    if best is not None:
        return bench.schedule(best)
    for strips in ways.smallest():
        try:
            bench.cycles(with_strips(graph, strips))
        except FitError as error:
            unfit = min(unfit, error, key=_missing_bytes)
    raise unfit


def with_strip_family(families: Sequence[Family]) -> tuple[Family, ...]:
    """The families, and one for strips, made of them."""
    known = tuple(map(_Remembered, families))
    return (StripFamily(known), *known)


def _unasked(graph: QuantGraph, bench: _Bench) -> Network:
    """The network scheduled without a budget of arena; predicted cycles decide about strips."""
    predicted = replace(bench, measured_cycles=None).within(ANY_BYTES)
    found = free_strips(graph, predicted.ways)
    if found is not None:
        strips, arena_bytes = found
        with suppress(FitError):  # strips take flash
            return bench.within(arena_bytes).schedule(with_strips(graph, strips))
    return bench.schedule(graph)


def _missing_bytes(error: FitError) -> int:
    return error.overflow_bytes


@dataclass(frozen=True, eq=False)
class _Strippable:
    """All strips of a network's first operators, with the least bytes of arena that they leave it.

    Attributes:
        bounds: all strips, with a lower bound of these bytes for each.
        ways, needs: of the network layer by layer.
    """

    bounds: tuple[tuple[Strips, int], ...]
    ways: Ways
    needs: Needs

    @staticmethod
    def of(graph: QuantGraph, bench: _Bench) -> _Strippable:
        ways = bench.within(ANY_BYTES).ways(graph)
        needs = needs_of(graph, ways)
        found = []
        for count in range(2, len(graph.ops) + 1):
            behind = max(map(min, needs[count:]), default=0)
            found += [(s, max(behind, s.stage_bytes)) for s in all_heights(graph, count)]
        return _Strippable(tuple(found), ways, needs)

    def within(self, limit: int) -> list[Strips]:
        """Those that may meet a budget, by the cycles that they seem to take; among those of which
        nothing is known, few operators and high strips come first."""
        estimate = StripEstimate.of(self.ways, self.needs, float("inf"), limit)
        fitting = [strips for strips, need in self.bounds if need <= limit]
        return sorted(fitting, key=lambda s: (estimate.cycles(s), len(s.ops), -s.maps_bytes))

    def smallest(self) -> list[Strips]:
        """Those with the lowest bounds."""
        ordered = sorted(self.bounds, key=lambda pair: pair[1])
        return [strips for strips, _ in ordered[:_MOST_FAILURES]]


class _Remembered:
    """A family that works out the ways to compute an operator on the same shapes once, and is never
    asked for strips."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._known: dict[tuple, tuple[Lowered, ...]] = {}

    def __call__(
        self, op: QOp, tensors: Mapping[str, QTensor], target: Target, /
    ) -> tuple[Lowered, ...]:
        if isinstance(op, Strips):
            return ()
        key = (op, *(tensors[name].shape for name in (*op.inputs, op.output)))
        if key not in self._known:
            self._known[key] = self._family(op, tensors, target)
        return self._known[key]
