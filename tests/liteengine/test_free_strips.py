"""Estimates of networks in strips: what arrays give is what the definition says, one by one."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.graph import Shape
from mcuq_lab.liteengine.footprint import Lifetimes, cost_of, needs_of, within_arena
from mcuq_lab.liteengine.free_strips import STRIPS_PRICE, StripEstimate, bounded
from mcuq_lab.liteengine.memory import ALIGNMENT_BYTES, Block, Overlap, lower_bound_bytes
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.liteengine.strip_lowering import overhead_cycles, runs_in
from mcuq_lab.target import Target
from tests.support.networks import mobilenet, residual_block, resnet8


def totals(estimate: StripEstimate, strips):
    """Bytes of arena and of the layers in strips, cycles of those, and of the network: of each
    limit of scratch, and of each size of arena."""
    first, end = strips.span(estimate.graph)
    parts = [
        [
            (
                way.scratch_bytes,
                strips.geometry.share_of_rows(op.name, way.by_rows.together) * cycles,
            )
            for way, cycles in some
            if runs_in(strips, op, way)
        ]
        for op, some in zip(strips.ops, estimate.ways[first:end], strict=True)
    ]
    outside = [*range(first), *range(end, len(estimate.ways))]
    for limit in sorted({scratch for pairs in parts for scratch, _ in pairs}):
        fitting = [[cycles for scratch, cycles in some if scratch <= limit] for some in parts]
        need = strips.stage_bytes + -(-limit // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        if not all(fitting) or need > estimate.most_bytes:
            continue
        own = sum(map(min, fitting)) + overhead_cycles(strips)
        for size in {need, *(size for size in estimate.sizes.tolist() if size > need)}:
            ways = [
                [
                    cycles
                    for (_, cycles), least in zip(estimate.ways[i], estimate.needs[i], strict=True)
                    if least <= size
                ]
                for i in outside
            ]
            if size <= estimate.most_bytes and all(ways):
                yield size, own, own + sum(map(min, ways))


@pytest.mark.parametrize("share", [0.6, 0.8, 1.0])
def test_estimates_are_the_least_of_all_limits_and_arenas(share):
    graph = residual_block(Shape(16, 16, 8), 4, 2)
    ways = [
        [(way, way.predicted_cycles) for way in candidates(op, graph.tensors)] for op in graph.ops
    ]
    needs = needs_of(graph, ways)
    estimate = StripEstimate.of(graph, ways, needs, int(share * max(map(max, needs))))
    seen = 0
    for strips, _ in bounded(graph, ways, needs):
        found = list(totals(estimate, strips))
        fewest = min((cycles for _, _, cycles in found), default=np.inf)
        assert estimate.cycles(strips) == pytest.approx(fewest, rel=1e-12)
        for most in (np.inf, 1.05 * min((own for _, own, _ in found), default=0)):
            costs = [cost_of(c, size, STRIPS_PRICE) for size, own, c in found if own <= most]
            assert estimate.cost(strips, most) == pytest.approx(
                min(costs, default=np.inf), rel=1e-12
            )
        seen += len(found)
    assert seen


def test_ways_that_differ_in_scratch_need_as_many_bytes_more():
    graph = residual_block(Shape(16, 16, 8), 4, 2)
    ways = [candidates(op, graph.tensors) for op in graph.ops]
    lives = Lifetimes.of(graph, [some[0] for some in ways])
    for index, some in enumerate(ways):
        together = lives.step_bytes(graph, index, some)
        assert together == [lives.step_bytes(graph, index, [way])[0] for way in some]


@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_needs_are_bounds_of_arenas_for_an_operator_alone(network):
    graph = network(None, 3)
    ways = [candidates(op, graph.tensors) for op in graph.ops]
    lives = Lifetimes.of(graph, [some[0] for some in ways])
    shared = 0
    for index, (op, some, step) in enumerate(zip(graph.ops, ways, lives.steps, strict=True)):
        if step is None:
            assert set(lives.step_bytes(graph, index, some)) == {0}
            continue
        live = [name for name in lives.first if lives.first[name] <= step <= lives.last[name]]
        blocks = [Block(graph.tensors[name].size_bytes, 0, 0) for name in live]
        output = live.index(lives.root[op.output])

        def dying(indices, op=op, step=step, live=live):
            roots = [(i, lives.root[op.inputs[i]]) for i in indices]
            return [(i, live.index(root)) for i, root in roots if lives.last[root] == step]

        for way, need in zip(some, lives.step_bytes(graph, index, some), strict=True):
            pairs = [(at, output) for _, at in dying(way.in_place)]
            leads = {ahead.index: ahead.lead_bytes for ahead in way.ahead}
            overlaps = [Overlap(at, output, leads[i]) for i, at in dying(leads)]
            scratch = Block(way.scratch_bytes, 0, 0)
            assert need == lower_bound_bytes([*blocks, scratch], pairs, overlaps)
            shared += need < lower_bound_bytes([*blocks, scratch])
    assert shared


@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_a_large_arena_leaves_all_ways(network):
    graph = network(None, 3)
    ways = [[(way, 1) for way in candidates(op, graph.tensors)] for op in graph.ops]
    most = max(map(max, needs_of(graph, ways)))
    for arena_bytes in (most, most + 8, 1 << 40):
        assert within_arena(graph, ways, Target(arena_bytes=arena_bytes)) == ways
    assert within_arena(graph, ways, Target(arena_bytes=most - 8)) != ways
