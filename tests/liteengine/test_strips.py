"""Layers in strips: the same integers as layer by layer, every row once, and chosen for budgets."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.errors import FitError
from mcuq_lab.graph import Shape
from mcuq_lab.liteengine import FAMILIES, generate, generate_sources, in_strips, plan, strip_choice
from mcuq_lab.liteengine.footprint import cost_of
from mcuq_lab.liteengine.free_strips import NEARLY_FREE, STRIPS_PRICE, WORTH_BYTES
from mcuq_lab.liteengine.memory import plan_arena
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.liteengine.strip_geometry import Sight
from mcuq_lab.liteengine.strip_overlap import over_inputs
from mcuq_lab.liteengine.strip_topology import Topology
from mcuq_lab.liteengine.strips import Strips, with_strips
from mcuq_lab.quantize import random_graph, random_inputs, run_reference
from mcuq_lab.storage import pack_batch
from mcuq_lab.target import Target
from tests.liteengine.test_overlap import at_distance
from tests.support.networks import mobilenet, residual_block, resnet8
from tests.support.simulated_core import has_toolchain, run_on_core

ROWS_AND_UNITS = ((1, 1), (2, 1), (2, 2), (3, 1), (4, 2), (4, 4), (7, 1))


def all_strips(graph) -> list[Strips]:
    found = (
        in_strips(graph, count, rows, unit)
        for count in range(2, len(graph.ops) + 1)
        for rows, unit in ROWS_AND_UNITS
    )
    return [strips for strips in found if strips is not None]


def random_strips(seed: int) -> tuple:
    """A random network of some height, and some strips of its first layers."""
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(
            int(rng.integers(1 << 30)), max_side=20, max_channels=(5, 12, 20)[seed % 3]
        )
        found = [strips for strips in all_strips(graph) if len(strips.calls(strips.ops[-1])) > 1]
        if found:
            return graph, found[rng.integers(len(found))]


def one_way(seed: int):
    """A family that takes any way to compute an operator, by rows if there are such."""

    def family(op, tensors, target):
        ways = candidates(op, tensors)
        ways = tuple(way for way in ways if way.by_rows is not None) or ways
        rng = np.random.default_rng([seed, *op.name.encode()])
        return ways[(at := int(rng.integers(len(ways)))) : at + 1] if ways else ()

    return family


def check(graph, strips: Strips, families=FAMILIES, *, on_core: bool = False) -> None:
    inputs = random_inputs(graph, 3)
    stored = pack_batch(inputs, graph.input)
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    sources = generate_sources(plan(graph, families, strips=strips))
    np.testing.assert_array_equal(run_on_host(sources, stored), expected)
    if on_core:
        np.testing.assert_array_equal(run_on_core(sources, stored).outputs, expected)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_in_strips(seed):
    check(*random_strips(seed))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 400))
def test_many_random_networks_in_strips(seed):
    check(*random_strips(seed), (one_way(seed),), on_core=seed % 3 == 0 and has_toolchain())


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("seed", range(10, 13))
def test_any_kernels_in_strips_on_host_and_core(seed):
    check(*random_strips(seed), (one_way(seed),), on_core=True)


@pytest.mark.parametrize("seed", range(6))
def test_strips_behind_the_first_operator(seed):
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(int(rng.integers(1 << 30)), max_side=20, max_channels=12)
        found = [
            in_strips(graph, end, rows, unit, first)
            for first in range(1, len(graph.ops))
            for end in range(first + 2, len(graph.ops) + 1)
            for rows, unit in ROWS_AND_UNITS
        ]
        found = [s for s in found if s is not None and len(s.calls(s.ops[-1])) > 1]
        if found:
            break
    check(graph, found[rng.integers(len(found))], (one_way(seed),))


def over_its_input(graph, rows: int, unit: int = 1) -> Strips:
    """The block behind the first layer, whose second convolution writes over its own input."""
    strips = over_inputs(in_strips(graph, len(graph.ops), rows, unit, 1))
    assert set(strips.over) == {"conv2"}
    return strips


@pytest.mark.parametrize(("rows", "unit"), ROWS_AND_UNITS)
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_convolution_over_its_own_rows(bits, rows, unit):
    graph = residual_block(Shape(13, 6, (8, 12)[rows % 2]), bits, seed=rows)
    check(graph, over_its_input(graph, rows, unit))


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_convolution_over_its_own_rows_on_the_core(bits):
    graph = residual_block(Shape(14, 7, 16), bits)
    check(graph, over_its_input(graph, 4, 2), on_core=True)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_convolution_over_its_own_rows_takes_less_room(bits):
    graph = residual_block(Shape(32, 32, 16), bits)
    apart = in_strips(graph, len(graph.ops), 8, 4, 1)
    assert over_its_input(graph, 8, 4).stage_bytes <= apart.stage_bytes - 6 * apart.row_bytes("add")
    assert plan(graph, strips=over_its_input(graph, 8, 4)).arena.optimal


def test_rows_that_differ_lie_apart():
    graph = residual_block(Shape(16, 16, 8), None, seed=3)
    strips = in_strips(graph, len(graph.ops), 4, 1, 1)
    bits = {graph.tensors[name].storage_bits for name in ("first", "conv1", "conv2", "add")}
    assert len(bits) > 1
    assert over_inputs(strips) is strips


def test_strips_begin_where_one_tensor_is_alive():
    graph = resnet8(4)
    names = [op.name for op in graph.ops]
    for block, add in ((1, "stem"), (2, "add1"), (3, "add2")):
        for name in (f"conv{block}_1", f"conv{block}_2", f"add{block}"):
            assert Topology.of(graph).starts(names.index(name)) == (0, names.index(add) + 1)
    assert Topology.of(graph).starts(0) == (0,)


def test_a_network_with_strips_has_them_in_their_place():
    graph = resnet8(4)
    strips = in_strips(graph, 4, 4, 1, 1)
    network = with_strips(graph, strips)
    assert [op.name for op in network.ops[:3]] == ["stem", strips.name, graph.ops[4].name]
    assert strips.span(graph) == (1, 4)


@pytest.mark.parametrize("seed", range(12))
def test_every_row_is_computed_once_from_rows_that_are_there(seed):
    graph, strips = random_strips(seed)
    ends = {strips.inputs[0]: graph.input.shape.h}
    kept = dict.fromkeys(strips.maps, 0)
    calls = {op.name: iter(strips.calls(op)) for op in strips.ops}
    for strip in range(strips.first_strip, strips.strips):
        for op in strips.ops:
            begin, sight = ends.get(op.output, 0), Sight.of(op)
            end = strips.turns[op.name].end(strip, strips.height(op))
            assert end >= begin
            ends[op.output] = end
            if end == begin:
                continue
            assert next(calls[op.name])[1] == end - begin
            for name in op.inputs:
                height = graph.tensors[name].shape.h
                assert min(sight.end(end), height) <= ends[name]
                assert max(sight.first(begin), 0) >= kept.get(name, 0)
            if op.output in kept:
                assert end - kept[op.output] <= strips.map_rows(op.output)
        for name in strips.maps:
            turns = strips.first_kept(name)
            first = turns.step * strip + turns.lead
            kept[name] = min(max(first, kept[name]), ends.get(name, 0))
    assert all(ends[op.output] == strips.height(op) for op in strips.ops)
    assert all(next(left, None) is None for left in calls.values())


def test_strips_keep_only_the_rows_that_windows_share():
    """Two rows of 16 channels between 3x3 layers, and a skip connection that costs nothing."""
    graph = resnet8(8)
    count = 1 + next(i for i, op in enumerate(graph.ops) if op.op == "Add")
    strips = in_strips(graph, count, 4)
    rows = {name: strips.map_rows(name) for name in strips.maps}
    assert set(rows.values()) == {4 + 2}
    assert len(rows) == 2  # the second convolution writes where the sum goes


def test_what_is_read_later_must_exist_whole():
    graph = resnet8(8)
    add = next(i for i, op in enumerate(graph.ops) if op.op == "Add")
    assert in_strips(graph, add, 4) is None  # the sum reads two of their tensors
    assert in_strips(graph, add + 1, 4) is not None
    assert in_strips(graph, 1, 4) is None
    assert in_strips(graph, len(graph.ops), 1) is None  # a flattening has no rows


@pytest.mark.parametrize("seed", [1, 4, 7])
def test_output_survives_over_the_input_at_the_stated_distance(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(int(rng.integers(1 << 30)), max_side=20, max_ops=4)
        found = [s for s in all_strips(graph) if s.output == graph.output_name and s.rows < 4]
        if found:
            break
    strips = found[-1]
    module = import_module("mcuq_lab.liteengine.plan")  # the package's `plan` is the function
    lead = -(-strips.ahead[0].lead_bytes // 8) * 8
    monkeypatch.setattr(module, "plan_arena", at_distance(lead))
    check(graph, strips)


def layer_by_layer(graph, monkeypatch):
    """The plan without a budget, if there were no strips."""
    with monkeypatch.context() as patch:
        patch.setattr(strip_choice, "free_strips", lambda *_: None)
        return plan(graph)


def strips_of(planned):
    """The step in strips; None: there is none."""
    return next((step for step in planned.steps if isinstance(step.op, Strips)), None)


def more_cycles(step, whole) -> int:
    """That the layers of a step in strips take more than in a plan layer by layer."""
    names = {op.name for op in step.op.ops}
    apart = [other for other in whole.steps if other.op.name in names]
    return step.lowered.predicted_cycles - sum(s.lowered.predicted_cycles for s in apart)


@pytest.mark.parametrize(
    ("network", "bits"), [(resnet8, 8), (resnet8, 4), (resnet8, 2), (mobilenet, 8)]
)
def test_without_a_budget_strips_cost_nearly_nothing_and_are_worth_it(network, bits, monkeypatch):
    graph = network(bits)
    free, whole = plan(graph), layer_by_layer(graph, monkeypatch)
    assert strips_of(whole) is None
    most = (NEARLY_FREE - 1) * whole.predicted_cycles
    assert more_cycles(strips_of(free), whole) <= most
    assert free.arena_bytes <= whole.arena_bytes - WORTH_BYTES
    costs = [cost_of(p.predicted_cycles, p.arena_bytes, STRIPS_PRICE) for p in (free, whole)]
    assert costs[0] < costs[1]


def test_strips_that_cost_cycles_are_for_budgets_alone():
    graph = mobilenet(4)
    free = plan(graph)
    assert strips_of(free) is None
    tight = plan(graph, target=Target(arena_bytes=free.arena_bytes * 17 // 20))
    assert more_cycles(strips_of(tight), free) > (NEARLY_FREE - 1) * free.predicted_cycles


@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_a_budget_brings_strips(network, monkeypatch):
    graph = network(8)
    free = layer_by_layer(graph, monkeypatch)
    budget = free.arena_bytes * 17 // 20
    tight = plan(graph, target=Target(arena_bytes=budget))
    assert strips_of(tight) is not None
    assert tight.arena_bytes <= budget
    assert tight.predicted_cycles < 1.25 * free.predicted_cycles
    assert sum(step.macs(graph) for step in tight.steps) == sum(map(graph.macs, graph.ops))


def test_a_budget_that_costs_nothing_brings_no_strips():
    graph = resnet8(8)
    assert not isinstance(plan(graph, target=Target(arena_bytes=1 << 20)).steps[0].op, Strips)


def test_what_is_missing_is_said_to_the_byte():
    graph = resnet8(4)
    with pytest.raises(FitError, match="more than the budget of 4,096") as failure:
        plan(graph, target=Target(arena_bytes=4096))
    assert failure.value.memory == "sram"
    enough = 4096 + failure.value.overflow_bytes
    assert plan(graph, target=Target(arena_bytes=enough)).arena_bytes == enough
    with pytest.raises(FitError):
        plan(graph, target=Target(arena_bytes=enough - 8))


def with_gaps(gap_bytes: int):
    """An arena planner that leaves a gap."""

    def planned(blocks, shareable, overlaps=()):
        arena = plan_arena(blocks, shareable, overlaps)
        return replace(arena, total_bytes=arena.total_bytes + gap_bytes)

    return planned


def test_gaps_in_the_arena_count_against_the_budget(monkeypatch):
    graph = resnet8(4)
    free = plan(graph).arena_bytes
    module = import_module("mcuq_lab.liteengine.plan")
    monkeypatch.setattr(module, "plan_arena", with_gaps(256))
    assert plan(graph, target=Target(arena_bytes=free)).arena_bytes <= free
    monkeypatch.setattr(module, "plan_arena", with_gaps(free))
    with pytest.raises(FitError, match="gaps between its tensors") as failure:
        plan(graph, target=Target(arena_bytes=free))
    assert failure.value.overflow_bytes > 0


def test_result_rows_name_the_layers_in_strips():
    graph = resnet8(8)
    sources = generate(graph, target=Target(arena_bytes=plan(graph).arena_bytes * 17 // 20))
    info = sources.layers[0]
    assert "_to_" in info.name
    assert (info.op, info.policy) == ("Strips", "w8a8")
    assert info.packing.startswith("strips of ")
