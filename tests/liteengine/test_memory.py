"""The arena planner: valid plans, proven smallest on problems small enough to try everything."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from mcuq_lab.liteengine import FAMILIES, GENERIC_FAMILIES, plan
from mcuq_lab.liteengine import memory as memory_module
from mcuq_lab.liteengine import strips as strips_module
from mcuq_lab.liteengine.free_strips import MOST_TRIED
from mcuq_lab.liteengine.memory import ArenaPlan, Block, lower_bound_bytes, plan_arena
from mcuq_lab.target import Target
from tests.support.networks import mobilenet, resnet8

LARGE = Target(arena_bytes=1 << 20)
"""Nothing runs in strips here."""


def assert_valid(blocks, shareable, arena: ArenaPlan) -> None:
    spans = [(at, at + b.size_bytes) for at, b in zip(arena.offsets, blocks, strict=True)]
    assert all(at % 8 == 0 for at in arena.offsets)
    assert max((end for _, end in spans), default=0) <= arena.total_bytes
    for i, j in itertools.combinations(range(len(blocks)), 2):
        if not blocks[i].meets(blocks[j]):
            continue
        apart = spans[i][1] <= spans[j][0] or spans[j][1] <= spans[i][0]
        shared = arena.offsets[i] == arena.offsets[j] and {(i, j), (j, i)} & set(shareable)
        assert apart or shared, (i, j)


def random_problem(rng, count: int):
    """A chain of operators: each output lives until some later operator; scratch now and then."""
    blocks, shareable = [], []
    for step in range(count):
        last = min(count - 1, step + int(rng.integers(1, 3)))
        blocks.append(Block(8 * int(rng.integers(1, 6)), step, last))
    for source, output in itertools.permutations(range(count), 2):
        if blocks[source].last == blocks[output].first and rng.random() < 0.6:
            shareable.append((source, output))
    return tuple(blocks), tuple(shareable)


def smallest_by_trial(blocks, shareable) -> int:
    """Every choice of sharings, every order of first-fit: one of them is optimal."""
    best = sum(block.size_bytes for block in blocks)
    for chosen in itertools.chain.from_iterable(
        itertools.combinations(shareable, n) for n in range(len(shareable) + 1)
    ):
        outputs, sources = [o for _, o in chosen], [i for i, _ in chosen]
        if len(set(outputs)) < len(outputs) or len(set(sources)) < len(sources):
            continue
        groups = {i: [i] for i in range(len(blocks))}
        for source, output in chosen:
            home = next(g for g in groups.values() if source in g)
            home.extend(groups.pop(output) if output in groups else [])
        for order in itertools.permutations(groups.values()):
            best = min(best, first_fit_total(blocks, order))
    return best


def first_fit_total(blocks, order) -> int:
    offsets: dict[int, int] = {}
    for group in order:
        for offset in itertools.count(0, 8):
            clashes = any(
                blocks[i].meets(blocks[j])
                and offset < offsets[j] + blocks[j].size_bytes
                and offsets[j] < offset + blocks[i].size_bytes
                for i in group
                for j in offsets
            )
            if not clashes:
                offsets.update(dict.fromkeys(group, offset))
                break
    return max(at + blocks[i].size_bytes for i, at in offsets.items())


@pytest.mark.parametrize("seed", range(40))
def test_plan_is_the_smallest_there_is(seed):
    blocks, shareable = random_problem(np.random.default_rng(seed), 5)
    arena = plan_arena(blocks, shareable)
    assert_valid(blocks, shareable, arena)
    assert arena.total_bytes == smallest_by_trial(blocks, shareable)
    assert arena.optimal
    assert lower_bound_bytes(blocks, shareable) <= arena.total_bytes


@pytest.mark.parametrize("seed", range(10))
def test_larger_problems_are_solved_and_repeatable(seed):
    blocks, shareable = random_problem(np.random.default_rng(100 + seed), 24)
    arena = plan_arena(blocks, shareable)
    assert_valid(blocks, shareable, arena)
    assert arena.optimal
    plan_arena.cache_clear()
    assert plan_arena(blocks, shareable) == arena


def test_solver_improves_on_greedy(monkeypatch):
    """Some problem needs the solver: greedy alone is worse there, and says so."""
    problems = [random_problem(np.random.default_rng(seed), 12) for seed in range(60)]
    solved = [plan_arena(*problem) for problem in problems]
    assert "cp-sat" in {arena.method for arena in solved}
    monkeypatch.setattr(memory_module, "_solve", lambda *_: (None, 0))
    plan_arena.cache_clear()
    greedy = [plan_arena(*problem) for problem in problems]
    plan_arena.cache_clear()
    assert all(g.total_bytes >= s.total_bytes for g, s in zip(greedy, solved, strict=True))
    worse = [g for g, s in zip(greedy, solved, strict=True) if g.total_bytes > s.total_bytes]
    assert worse
    assert not any(g.optimal for g in worse)


def test_sizes_are_rounded_up_and_empty_blocks_are_free():
    arena = plan_arena((Block(1, 0, 0), Block(0, 0, 0), Block(9, 0, 0)), ())
    assert arena.total_bytes == 24
    assert plan_arena((), ()).total_bytes == 0


def test_sharing_saves_the_smaller_block():
    blocks = (Block(64, 0, 1), Block(40, 1, 2))
    assert plan_arena(blocks, ()).total_bytes == 104
    shared = plan_arena(blocks, ((0, 1),))
    assert shared.total_bytes == 64
    assert shared.offsets[0] == shared.offsets[1]


@pytest.mark.parametrize("bits", [8, 4, 2, None])
@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_real_networks_are_planned_optimally(network, bits):
    assert plan(network(bits), GENERIC_FAMILIES).arena.optimal


def test_buffers_tell_the_arena_over_time():
    planned = plan(resnet8(4), GENERIC_FAMILIES, target=LARGE)
    named = {(buffer.kind, buffer.name): buffer for buffer in planned.buffers}
    assert ("tensor", "flat") not in named  # an alias of the pooled tensor
    skip = named["tensor", "stem"]
    assert (skip.first_step, skip.last_step) == (0, 3)  # until the first sum
    assert skip.offset_bytes == planned.tensor_offsets["stem"]
    stem = planned.steps[0]
    scratch = named["scratch", "stem"]
    assert scratch.size_bytes == stem.lowered.scratch_bytes
    assert scratch.first_step == scratch.last_step == 0
    ends = [buffer.offset_bytes + buffer.size_bytes for buffer in planned.buffers]
    assert planned.arena_bytes - 8 < max(ends) <= planned.arena_bytes


def test_planning_takes_little_enough_work_for_a_search(monkeypatch):
    """Counted are operators whose kernels are worked out, strips laid out, and solver runs."""
    counts = Counter()

    def counted(name, function):
        def call(*arguments, **options):
            counts[name] += 1
            return function(*arguments, **options)

        return call

    monkeypatch.setattr(memory_module, "_solve", counted("solver", memory_module._solve))
    monkeypatch.setattr(strips_module, "in_strips", counted("strips", strips_module.in_strips))
    for seed in range(4):
        graph = resnet8(None, seed)
        counts.clear()
        plan_arena.cache_clear()
        plan(graph, [counted("kernels", family) for family in FAMILIES])
        in_strips = max(n for n in range(2, len(graph.ops) + 1) if all_strips(graph, n))
        most = len(graph.ops) + 1 + MOST_TRIED * (in_strips + 1)
        assert counts["kernels"] <= most * len(FAMILIES)
        assert counts["strips"] <= 12 * len(graph.ops)
        assert counts["solver"] <= 1


def all_strips(graph, count: int) -> list:
    return list(strips_module.all_heights(graph, count))
