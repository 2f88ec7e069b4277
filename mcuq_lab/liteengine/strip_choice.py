"""Whether some layers run in strips, which of them, and how many rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mcuq_lab.errors import FitError
from mcuq_lab.liteengine.footprint import Needs, Ways, fewest_cycles, needs_of
from mcuq_lab.liteengine.free_strips import StripEstimate, bounded, free_strips
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.order import with_few_bytes_alive
from mcuq_lab.liteengine.schedule import Family, fitting_ways, schedule
from mcuq_lab.liteengine.strip_lowering import StripFamily
from mcuq_lab.liteengine.strips import Strips, with_strips
from mcuq_lab.liteengine.subsampling import Subsample, lower_subsample, variants
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.target import Target

TOLERABLE = 1.01
"""A budget that costs less than this times the cycles of the fastest kernels asks for no strips."""

_MOST_FITTING = 5
"""Networks to choose from that meet the budget: they are tried in order of an estimate."""
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
    """The network to run, with kernels: `graph`, or that with some operators in strips; in an
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
    ways = [_Strippable.of(network, bench) for network in variants(graph)]
    fitting = 0
    for network in _within(ways, target.arena_bytes):
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
    for network in _smallest(ways):
        try:
            bench.cycles(network)
        except FitError as error:
            unfit = min(unfit, error, key=_missing_bytes)
    raise unfit


def with_strip_family(families: Sequence[Family]) -> tuple[Family, ...]:
    """The families, one for strips, made of them, and one for subsampled shortcuts."""
    known = _Remembered(families)
    return (StripFamily((known,)), lower_subsample, known)


def _unasked(graph: QuantGraph, bench: _Bench) -> Network:
    """The network scheduled without a budget of arena; predicted cycles decide about strips."""
    predicted = replace(bench, measured_cycles=None).within(ANY_BYTES)
    found = free_strips(graph, predicted.ways)
    if found is None:
        return bench.schedule(graph)
    network, arena_bytes = found
    stripped = bench.within(arena_bytes)
    if bench.target.flash_bytes is None:
        return stripped.schedule(network)
    # Small kernels may be slow in strips, or there may be none.
    fitting = []
    for one, some in ((stripped, network), (bench, graph)):
        try:
            fitting.append(one.schedule(some))
        except FitError as error:
            unfit = error
    if not fitting:
        raise unfit
    return min(fitting, key=_predicted_cycles)


def _predicted_cycles(network: Network) -> int:
    return sum(way.predicted_cycles for way in network[1])


def _missing_bytes(error: FitError) -> int:
    return error.overflow_bytes


@dataclass(frozen=True, eq=False)
class _Strippable:
    """All strips to consider, with the least bytes of arena that they leave a network.

    Attributes:
        graph: the network.
        bounds: all strips, with a lower bound of these bytes for each.
        ways, needs: of the network layer by layer.
    """

    graph: QuantGraph
    bounds: tuple[tuple[Strips, int], ...]
    ways: Ways
    needs: Needs

    @staticmethod
    def of(graph: QuantGraph, bench: _Bench) -> _Strippable:
        ways = bench.within(ANY_BYTES).ways(graph)
        needs = needs_of(graph, ways)
        return _Strippable(graph, tuple(bounded(graph, ways, needs)), ways, needs)

    @property
    def whole_bytes(self) -> int:
        """That it needs at least without strips."""
        return max(map(min, self.needs))


def _within(all_ways: Sequence[_Strippable], limit: int) -> list[QuantGraph]:
    """Networks that may meet a budget, by the cycles that they seem to take, those without strips
    first; among those of which nothing is known, few operators and high strips come first."""
    whole, found = [], []
    for ways in all_ways:
        estimate = StripEstimate.of(ways.graph, ways.ways, ways.needs, limit)
        whole += [ways.graph] * (ways.whole_bytes <= limit)
        for strips, need in ways.bounds:
            if need <= limit:
                key = estimate.cycles(strips), len(strips.ops), -strips.maps_bytes
                found.append((key, with_strips(ways.graph, strips)))
    return whole + [network for _, network in sorted(found, key=lambda pair: pair[0])]


def _smallest(all_ways: Sequence[_Strippable]) -> list[QuantGraph]:
    """Those with the lowest bounds."""
    found = [(need, with_strips(w.graph, strips)) for w in all_ways for strips, need in w.bounds]
    found.sort(key=lambda pair: pair[0])
    return [network for _, network in found[:_MOST_FAILURES]]


class _Remembered:
    """Families as one that works out the ways to compute an operator on the same shapes once, and
    is never asked for operators that only a rewritten network has."""

    def __init__(self, families: Sequence[Family]) -> None:
        self._families = tuple(families)
        self._known: dict[tuple, tuple[Lowered, ...]] = {}

    def __call__(
        self, op: QOp, tensors: Mapping[str, QTensor], target: Target, /
    ) -> tuple[Lowered, ...]:
        if isinstance(op, Strips | Subsample):
            return ()
        key = (op, *(tensors[name].shape for name in (*op.inputs, op.output)))
        if key not in self._known:
            self._known[key] = tuple(
                way for family in self._families for way in family(op, tensors, target)
            )
        return self._known[key]
