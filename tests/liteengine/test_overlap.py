"""Outputs over their inputs: plans are valid and smallest, and the distances that kernels state are
safe and needed."""

from __future__ import annotations

import itertools
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import FAMILIES, generate, plan
from mcuq_lab.liteengine.lowering import Ahead, ahead_of_input
from mcuq_lab.liteengine.memory import ArenaPlan, Block, Overlap, lower_bound_bytes, plan_arena
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QTensor
from mcuq_lab.quantize import random_inputs, run_reference, single_layer
from mcuq_lab.storage import pack_batch


def may_lie(blocks, shareable, overlaps, i: int, j: int, at_i: int, at_j: int) -> bool:
    """Whether two blocks, given in the order of their indices, may lie at these offsets."""
    if not blocks[i].meets(blocks[j]):
        return True
    if at_i + blocks[i].size_bytes <= at_j or at_j + blocks[j].size_bytes <= at_i:
        return True
    at = {i: at_i, j: at_j}
    if {(i, j), (j, i)} & set(shareable) and at_i == at_j:
        return True
    return any(
        {o.source, o.output} == {i, j} and at[o.source] - at[o.output] >= o.lead_bytes
        for o in overlaps
    )


def smallest_by_search(blocks, shareable, overlaps, limit: int) -> int:
    """Every offset of every block, below the best total so far."""
    best = limit
    offsets: list[int] = []

    def place(total: int) -> None:
        nonlocal best
        if len(offsets) == len(blocks):
            best = min(best, total)
            return
        j = len(offsets)
        for at in range(0, best - blocks[j].size_bytes, 8):
            if all(may_lie(blocks, shareable, overlaps, i, j, offsets[i], at) for i in range(j)):
                offsets.append(at)
                place(max(total, at + blocks[j].size_bytes))
                offsets.pop()

    place(0)
    return best


def random_problem(rng, count: int):
    blocks = []
    for step in range(count):
        last = min(count - 1, step + int(rng.integers(1, 3)))
        blocks.append(Block(8 * int(rng.integers(1, 7)), step, last))
    shareable, overlaps = [], []
    for source, output in itertools.permutations(range(count), 2):
        if blocks[source].last == blocks[output].first and source < output:
            kind = rng.random()
            if kind < 0.3:
                shareable.append((source, output))
            elif kind < 0.9:
                overlaps.append(Overlap(source, output, 8 * int(rng.integers(-3, 5))))
    return tuple(blocks), tuple(shareable), tuple(overlaps)


@pytest.mark.parametrize("seed", range(30))
def test_plan_is_valid_and_the_smallest_there_is(seed):
    problem = random_problem(np.random.default_rng(seed), 5)
    arena = plan_arena(*problem)
    blocks, offsets = problem[0], arena.offsets
    for i, j in itertools.combinations(range(len(blocks)), 2):
        assert may_lie(*problem, i, j, offsets[i], offsets[j])
    assert arena.total_bytes == max(
        at + b.size_bytes for at, b in zip(offsets, blocks, strict=True)
    )
    assert smallest_by_search(*problem, arena.total_bytes + 8) == arena.total_bytes
    assert lower_bound_bytes(*problem) <= arena.lower_bound_bytes == arena.total_bytes


def test_an_output_in_front_of_its_input_costs_the_lead_alone():
    blocks = (Block(64, 0, 0), Block(128, 0, 0))
    assert plan_arena(blocks, ()).total_bytes == 192
    assert plan_arena(blocks, (), (Overlap(0, 1, 64),)).total_bytes == 128
    assert plan_arena(blocks, (), (Overlap(0, 1, 75),)).total_bytes == 144
    assert plan_arena(blocks[::-1], (), (Overlap(0, 1, 8),)).total_bytes == 136


def test_lead_is_the_largest_surplus_of_written_over_unread_bytes():
    source = QTensor("x", Shape(4, 4, 2), 8, 1.0, 0)
    assert ahead_of_input(source, [(16, 8), (32, 16), (40, 30)]) == (Ahead(0, 16),)
    assert ahead_of_input(source, []) == (Ahead(0, -32),)  # nothing is read when writing begins


LAYERS = {
    "conv 3x3": (QConv2d, Shape(12, 9, 8), 12, Window.square(3, 1, 1)),
    "conv 3x3, few channels": (QConv2d, Shape(11, 8, 3), 16, Window.square(3, 1, 1)),
    "conv 3x3 / 2": (QConv2d, Shape(12, 10, 8), 36, Window.square(3, 2, 1)),
    "conv 5x5": (QConv2d, Shape(11, 9, 4), 6, Window.square(5, 1, 2)),
    "conv 1x1": (QConv2d, Shape(12, 12, 8), 16, Window.square(1)),
    "conv 1x1 / 2": (QConv2d, Shape(12, 12, 8), 36, Window.square(1, 2)),
    "depthwise 3x3": (QDepthwiseConv2d, Shape(12, 9, 8), 8, Window.square(3, 1, 1)),
    "depthwise 3x3 / 2": (QDepthwiseConv2d, Shape(12, 9, 8), 8, Window.square(3, 2, 1)),
}


def at_distance(distance_bytes: int):
    """An arena planner for one layer: the output begins so far in front of its input."""

    def planned(blocks, shareable, overlaps=()) -> ArenaPlan:
        source, output, scratch = blocks
        base = max(distance_bytes, 0) + 64
        offsets = [base, base - distance_bytes]
        ends = [at + b.size_bytes for at, b in zip(offsets, (source, output), strict=True)]
        offsets.append((max(ends) + 64) // 8 * 8)
        return ArenaPlan(tuple(offsets), offsets[2] + scratch.size_bytes + 8, 0, "forced")

    return planned


def outputs_agree(graph, way, distance_bytes: int, monkeypatch) -> bool:
    module = import_module("mcuq_lab.liteengine.plan")  # the package's `plan` is the function
    monkeypatch.setattr(module, "plan_arena", at_distance(distance_bytes))
    families = (lambda op, tensors, target: (replace(way, predicted_cycles=1),),)
    inputs = random_inputs(graph, 2)
    outputs = run_on_host(generate(graph, families), pack_batch(inputs, graph.input))
    return np.array_equal(outputs, pack_batch(run_reference(graph, inputs), graph.output))


def distinct_kernels(graph):
    """One way of each kernel's driver to compute the only operator."""
    found = {}
    for way in candidates(graph.ops[0], graph.tensors, FAMILIES):
        drivers = tuple(file.name for file in way.files if way.kernel not in file.name)
        found.setdefault(drivers, way)
    return [way for way in found.values() if way.ahead]


@pytest.mark.parametrize(("layer", "bits"), list(itertools.product(LAYERS, (8, 4))))
def test_outputs_survive_at_the_stated_distance(layer, bits, monkeypatch):
    graph = single_layer(*LAYERS[layer], w_bits=bits, a_bits=bits, out_bits=bits)
    ways = distinct_kernels(graph)
    assert ways
    for way in ways:
        lead = -(-way.ahead[0].lead_bytes // 8) * 8
        assert outputs_agree(graph, way, lead, monkeypatch), way.kernel


def test_a_smaller_distance_breaks_outputs(monkeypatch):
    """The statements are not idle: a row less, and rows to come are overwritten."""
    graph = single_layer(*LAYERS["conv 1x1"])
    ways = [way for way in candidates(graph.ops[0], graph.tensors, FAMILIES) if way.ahead]
    way = max(ways, key=lambda way: way.ahead[0].lead_bytes)
    assert way.ahead[0].lead_bytes > -graph.input.size_bytes
    distance = (way.ahead[0].lead_bytes - 192) // 8 * 8
    assert not outputs_agree(graph, way, distance, monkeypatch)


def test_wider_outputs_lie_over_their_inputs():
    graph = single_layer(*LAYERS["conv 1x1"])
    planned = plan(graph)
    sizes = graph.input.size_bytes + graph.output.size_bytes
    assert planned.arena_bytes < sizes + planned.scratch_bytes
