"""Integer networks one after another on the same images, each from where it differs from others.

The policies of a search are neighbours: two networks often begin with the same operators, constants
included, and in a table they mostly do. A tensor is known by a digest of all operators behind it,
so its values are found again whatever network yielded them, in residual networks too, where one
branch may be known and the other not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Set

import numpy as np
from torch import Tensor

from mcuq_lab.quantgraph import QOp, QuantGraph, op_digest
from mcuq_lab.quantize.executor import BATCH, joined, parts, prepare, real_outputs
from mcuq_lab.quantize.inputs import quantize_input
from mcuq_lab.quantize.ranges import check_ranges
from mcuq_lab.quantize.remembered import Remembered


class IncrementalExecutor:
    """`run_integers`, `predict` and `evaluate` for many networks and one set of images.

    Results are the same to the bit. A run that is interrupted leaves nothing half done.

    Args:
        images: uint8 NHWC, not to be changed afterwards.
        low, high: those of the float network's `Input`.
        memory_bytes: of values that are kept between runs: one byte for each element of each
            tensor and image. Less is kept where there is less memory; 0 keeps nothing.
        batch: images computed at a time.
    """

    def __init__(
        self,
        images: np.ndarray,
        low: float = 0.0,
        high: float = 1.0,
        *,
        memory_bytes: int,
        batch: int = BATCH,
    ) -> None:
        self._images, self._low, self._high, self._batch = images, low, high, batch
        self._values: Remembered[list[Tensor]] = Remembered(memory_bytes)

    @property
    def size_bytes(self) -> int:
        """Of what is kept."""
        return self._values.size_bytes

    def evaluate(self, graph: QuantGraph, labels: np.ndarray) -> float:
        """Share of the images whose largest output is their label's; equal: the first counts."""
        return float((self.predict(graph).argmax(1) == labels).mean())

    def predict(self, graph: QuantGraph) -> np.ndarray:
        """Real-valued logits, float32 (N, classes)."""
        return real_outputs(graph, self.run_integers(graph))

    def run_integers(self, graph: QuantGraph) -> np.ndarray:
        """uint8 (N, h, w, c) outputs.

        Raises:
            NumericsError: the network leaves the specification's range.
        """
        check_ranges(graph)
        n = len(self._images)
        if n == 0:
            shape = graph.output.shape
            return np.empty((0, shape.h, shape.w, shape.c), np.uint8)
        keys = value_keys(graph)
        known = self._values.known(keys)
        ops, begin = missing_operators(graph, known)
        values = self._values.of({name: keys[name] for name in begin if name in known})
        if graph.input_name in begin and graph.input_name not in known:
            inputs = quantize_input(self._images, graph.input, self._low, self._high)
            values[graph.input_name] = parts(inputs, self._batch)
        sizes = {name: n * graph.tensors[name].shape.size for name in keys}
        computed = [name for name in values if name not in known] + [op.output for op in ops]
        kept = self._values.make_room(
            {keys[name]: sizes[name] for name in keys if name in known or name in computed}
        )
        wanted = {name for name in computed if keys[name] in kept} | {graph.output_name}
        values |= self._run(graph, ops, values, wanted - set(values))
        for name in computed:
            if keys[name] in kept:
                self._values.remember(keys[name], values[name], sizes[name])
        return joined(values[graph.output_name])

    def _run(
        self, graph: QuantGraph, ops: list[QOp], begin: Mapping[str, list[Tensor]], wanted: Set[str]
    ) -> dict[str, list[Tensor]]:
        """Wanted values, by tensor and batch."""
        values: dict[str, list[Tensor]] = {name: [] for name in wanted}
        if not ops:
            return values
        run = prepare(graph, ops, self._batch)
        for batch in zip(*begin.values(), strict=True):
            for name, value in run(dict(zip(begin, batch, strict=True)), wanted).items():
                values[name].append(value)
        return values


def value_keys(graph: QuantGraph) -> dict[str, bytes]:
    """By tensor, in the network's order, a digest of all that its values depend on but images."""
    keys = {graph.input_name: hashlib.sha256(repr(graph.input).encode()).digest()}
    for op in graph.ops:
        state = hashlib.sha256(op_digest(op, [graph.tensors[op.output]]).encode())
        for name in op.inputs:
            state.update(keys[name])
        keys[op.output] = state.digest()
    return keys


def missing_operators(graph: QuantGraph, known: Container[str]) -> tuple[list[QOp], list[str]]:
    """The operators that the output still needs, in order, and the tensors that they begin with:
    known ones, or the input. The output alone, if it is known."""
    if graph.output_name in known:
        return [], [graph.output_name]
    ops, needed = [], {graph.output_name}
    for op in reversed(graph.ops):
        if op.output in needed and op.output not in known:
            ops.append(op)
            needed.update(op.inputs)
    computed = {op.output for op in ops}
    return ops[::-1], [name for name in needed if name not in computed]
