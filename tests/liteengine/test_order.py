"""The order of operators: valid, the best one of all where all can be tried, and kept in chains."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mcuq_lab.liteengine import GENERIC_FAMILIES, plan
from mcuq_lab.liteengine.order import with_few_bytes_alive
from mcuq_lab.quantgraph import QOp, QuantGraph
from mcuq_lab.target import Target
from tests.support.networks import mobilenet, resnet8


def all_orders(left: tuple[QOp, ...], written: frozenset[str]) -> Iterator[tuple[QOp, ...]]:
    if not left:
        yield ()
    for op in left:
        if set(op.inputs) <= written:
            others = tuple(other for other in left if other is not op)
            for behind in all_orders(others, written | {op.output}):
                yield (op, *behind)


def bytes_alive(graph: QuantGraph, ops: tuple[QOp, ...]) -> list[int]:
    """Of all tensors between their first and their last use, the largest sum first."""
    sums = []
    for step in range(len(ops)):
        before = {name for op in ops[: step + 1] for name in (*op.inputs, op.output)}
        needed = {name for op in ops[step:] for name in (*op.inputs, op.output)}
        alive = before & (needed | {graph.output_name})
        sums.append(sum(graph.tensors[name].size_bytes for name in alive))
    return sorted(sums, reverse=True)


@pytest.mark.parametrize("bits", [8, 4, 2, None])
def test_no_order_of_a_residual_network_is_better(bits):
    graph = resnet8(bits)
    found = with_few_bytes_alive(graph)
    orders = list(all_orders(graph.ops, frozenset({graph.input_name})))
    assert len(orders) > 1
    assert found.ops in orders
    assert bytes_alive(graph, found.ops) == min(bytes_alive(graph, ops) for ops in orders)


def test_shortcuts_run_before_the_second_convolution():
    names = [op.name for op in with_few_bytes_alive(resnet8(4)).ops]
    for stack in (2, 3):
        wanted = [f"conv{stack}_1", f"skip{stack}", f"conv{stack}_2", f"add{stack}"]
        assert names[names.index(wanted[0]) :][:4] == wanted


def test_a_chain_stays_as_it_is():
    graph = mobilenet(8)
    assert with_few_bytes_alive(graph) is graph


def test_the_plan_runs_in_this_order():
    graph = resnet8(4)
    planned = plan(graph, GENERIC_FAMILIES, target=Target(arena_bytes=1 << 20))
    order = [op.name for op in with_few_bytes_alive(graph).ops]
    names = [step.op.name for step in planned.steps]
    assert names == [name for name in order if name in names]
    assert planned.graph is graph
