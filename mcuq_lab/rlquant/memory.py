"""A fast estimate of peak activation memory, for the agent's imagined episodes and the masks.

The exact peak is the memory planner's (`Evaluator.plan`), which takes too long for thousands of
imagined steps. This estimate is the largest sum of tensors that live at once, without in-place
operation and scratch; `costs` calibrates it against what was planned or measured. It never falls
when a width grows, which the masks rely on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcuq_lab.graph import Graph
from mcuq_lab.policy import MAX_BITS
from mcuq_lab.quantgraph import STORAGE_BITS
from mcuq_lab.quantize.tensors import group_of_tensor, tensor_groups
from mcuq_lab.rlquant.space import SearchSpace

_STORAGE = np.array([STORAGE_BITS.get(bits, 0) for bits in range(MAX_BITS + 1)])


@dataclass(frozen=True, eq=False)
class LiveTensors:
    """Lifetimes of a network's tensors.

    Attributes:
        live: bool (steps, T): whether tensor t lives while node s runs.
        pixels, channels: of each tensor, shape (T,).
        readers: bool (T, L): whether the layer asks for the tensor's width.
    """

    live: np.ndarray
    pixels: np.ndarray
    channels: np.ndarray
    readers: np.ndarray

    def peak_bytes(self, bits: np.ndarray) -> np.ndarray:
        """Largest sum of live tensors for policies (..., L, 2); int64 of shape (...)."""
        return self.step_bytes(bits).max(axis=-1).astype(np.int64)

    def step_bytes(self, bits: np.ndarray) -> np.ndarray:
        """Sum of live tensors while each node runs, float32 of shape (..., steps)."""
        widths = np.where(self.readers, bits[..., None, :, 1], 0).max(axis=-1)
        widths = np.where(self.readers.any(axis=1), widths, MAX_BITS)
        tensor_bytes = self.pixels * ((self.channels * _STORAGE[widths] + 7) // 8)
        return tensor_bytes.astype(np.float32) @ self.live.T


def live_tensors(space: SearchSpace) -> LiveTensors:
    """Lifetimes and readers of all tensors of a space's network."""
    graph = space.graph
    names = [node.name for node in graph.nodes]
    position = {name: i for i, name in enumerate(names)}
    last = [max([position[c.name] for c in graph.consumers(n)], default=len(names)) for n in names]
    steps = np.arange(len(names))
    live = np.array([(steps >= position[n]) & (steps <= last[position[n]]) for n in names]).T
    shapes = [graph.shapes[name] for name in names]
    return LiveTensors(
        live=live.astype(np.float32),
        pixels=np.array([shape.h * shape.w for shape in shapes]),
        channels=np.array([shape.c for shape in shapes]),
        readers=_readers(graph, names),
    )


def _readers(graph: Graph, names: list[str]) -> np.ndarray:
    """Which layers decide a tensor's width; a tensor that only a sum or a mean reads takes the
    width of what that yields, and the network's output has 8 bits (no reader)."""
    group_of = group_of_tensor(tensor_groups(graph))
    readers = {name: set() for name in names}
    for index, layer in enumerate(graph.layers):
        for name in group_of[layer.inputs[0]].members:
            readers[name].add(index)
    for node in reversed(graph.nodes):
        for source in node.inputs:
            if not readers[source]:
                readers[source] = set(readers[node.name])
    return np.array([[i in readers[name] for i in range(len(graph.layers))] for name in names])
