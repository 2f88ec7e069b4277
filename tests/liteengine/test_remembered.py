"""Remembered families: the same answers, worked out once, and anew where anything differs."""

import dataclasses

import numpy as np
import pytest

from mcuq_lab.liteengine import GENERIC_FAMILIES, generate
from mcuq_lab.liteengine.kernels import FAMILIES, PACKED_FAMILIES
from mcuq_lab.liteengine.kernels.remembered import _selected, once_for_weights, remembered
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d
from mcuq_lab.quantize import random_graph
from mcuq_lab.target import DEFAULT_TARGET


def ask(family, graph, target=DEFAULT_TARGET):
    return family(graph.ops[0], graph.tensors, target)


def test_the_generated_c_is_that_of_the_families_themselves():
    for seed in range(6):
        for _ in range(2):  # the second time out of memory
            first = generate(random_graph(seed), FAMILIES)
        plain = generate(random_graph(seed), (*PACKED_FAMILIES, *GENERIC_FAMILIES))
        assert first.files == plain.files


def test_an_operator_is_worked_out_once():
    asked = []

    def family(op, tensors, target):
        asked.append(op.name)
        return ()

    known = remembered(family)
    first, again = (random_graph(1) for _ in range(2))
    assert ask(known, first) == ask(known, again) == ()
    assert len(asked) == 1
    op = first.ops[0]
    tensor = first.tensors[op.output]
    wider = dataclasses.replace(tensor, zero_point=tensor.zero_point ^ 1)
    others = [
        dataclasses.replace(first, tensors={**first.tensors, op.output: wider}),
        dataclasses.replace(first, ops=(changed(op), *first.ops[1:])),
    ]
    for other in others:
        ask(known, other)
    ask(known, first, dataclasses.replace(DEFAULT_TARGET, core="cortex-m7"))
    assert len(asked) == 4


@pytest.mark.parametrize("seed", [1, 3, 4, 5, 6])
def test_ways_selected_for_another_layer_hold_this_layers_constants(seed):
    graph = random_graph(seed)
    _selected.cache_clear()
    anew = [all_of(way) for op in graph.ops for way in lowered(op, graph)]
    _selected.cache_clear()
    for op in graph.ops:  # the same sizes and sums, other constants
        if isinstance(op, QConv2d | QDepthwiseConv2d):
            requantize = dataclasses.replace(
                op.requantize,
                offset=op.requantize.offset[::-1] + 1,
                multiplier=op.requantize.multiplier[::-1],
            )
            lowered(dataclasses.replace(op, weight=op.weight[::-1], requantize=requantize), graph)
    assert [all_of(way) for op in graph.ops for way in lowered(op, graph)] == anew
    assert _selected.cache_info().hits > 0


def lowered(op, graph):
    return [way for family in PACKED_FAMILIES for way in family(op, graph.tensors, DEFAULT_TARGET)]


def all_of(way):
    known = {field.name: getattr(way, field.name) for field in dataclasses.fields(way)}
    return known | {"declarations": way.constants}


def test_packings_of_equal_weights_are_worked_out_once():
    asked = []

    @once_for_weights
    def packings(weight, bits):
        asked.append(bits)
        yield int(weight.sum()) + bits

    weight = np.arange(6, dtype=np.int8).reshape(2, 3)
    assert packings(weight, 1) == packings(weight.copy(), 1) == (16,)
    assert packings(weight.reshape(3, 2), 1) == (16,)
    assert packings(weight + np.int8(1), 1) == (22,)
    assert packings(weight, 2) == (17,)
    assert asked == [1, 1, 1, 2]


def changed(op):
    weight = op.weight.copy()
    weight.flat[-1] ^= 1
    return dataclasses.replace(op, weight=weight)
