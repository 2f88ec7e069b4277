"""In which order the operators run, where the network leaves a choice: so that few bytes wait.

A branch that runs late makes its input wait while the other branch computes. In a residual block
whose shortcut is a convolution, the block's input is dead as soon as both convolutions that read
it have run; what waits then is the shortcut's output, half as large where the stride is two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from mcuq_lab.quantgraph import QOp, QuantGraph

Ops = tuple[QOp, ...]


def with_few_bytes_alive(graph: QuantGraph) -> QuantGraph:
    """The network with its operators in an order in which tensors take few bytes.

    Of the bytes of all tensors alive at each operator the largest number counts, then the next one,
    and so on. From the given order on, one operator at a time moves as far forward or back as
    pays most, until no move pays; a network without branches stays as it is.
    """
    sizes = {name: tensor.size_bytes for name, tensor in graph.tensors.items()}

    def alive(ops: Ops) -> list[int]:
        return sorted(_bytes_alive(ops, sizes, graph.output_name), reverse=True)

    ops = graph.ops
    while True:
        best = min(_moves(ops), key=alive, default=ops)
        if alive(best) >= alive(ops):
            return graph if ops == graph.ops else replace(graph, ops=ops)
        ops = best


def _bytes_alive(ops: Ops, sizes: Mapping[str, int], output_name: str) -> Iterator[int]:
    """Bytes of the tensors that each operator reads, writes, or leaves alone for later ones."""
    last = {name: step for step, op in enumerate(ops) for name in (op.output, *op.inputs)}
    last[output_name] = len(ops)
    live: set[str] = set()
    for step, op in enumerate(ops):
        live |= {op.output, *op.inputs}
        yield sum(sizes[name] for name in live)
        live = {name for name in live if last[name] > step}


def _moves(ops: Ops) -> Iterator[Ops]:
    """All orders in which one operator runs earlier or later; short moves come first."""
    for distance in range(1, len(ops)):
        for first in range(len(ops) - distance):
            head, moved, tail = (
                ops[:first],
                ops[first : first + distance + 1],
                ops[first + distance + 1 :],
            )
            if not set(moved[-1].inputs) & {op.output for op in moved[:-1]}:
                yield (*head, moved[-1], *moved[:-1], *tail)
            if not any(moved[0].output in op.inputs for op in moved[1:]):
                yield (*head, *moved[1:], moved[0], *tail)
