"""Remembered families: the same answers, worked out once, and anew where anything differs."""

import dataclasses

from mcuq_lab.liteengine import GENERIC_FAMILIES, generate
from mcuq_lab.liteengine.kernels import FAMILIES, PACKED_FAMILIES
from mcuq_lab.liteengine.kernels.remembered import remembered
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


def changed(op):
    weight = op.weight.copy()
    weight.flat[-1] ^= 1
    return dataclasses.replace(op, weight=weight)
