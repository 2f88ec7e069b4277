"""The search space: what is chosen for each layer, which choices are one and the same network.

Inside the search a policy is an integer array of bit-widths, `bits` of shape (..., L, 2) with
[..., 0] the weights' and [..., 1] the activations' width (of the layer's *input*); `Policy` is what
leaves the search. Tensors that several layers read have one width, the largest that any of them
asks for, so policies that differ only below that maximum are the same network: `canonical` maps
each onto its representative, and no evaluation is spent twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mcuq_lab.graph import DepthwiseConv2d, FullyConnected, Graph
from mcuq_lab.policy import MAX_BITS, MIN_BITS, Policy
from mcuq_lab.quantize.tensors import group_of_tensor, tensor_groups

N_WIDTHS = MAX_BITS - MIN_BITS + 1
"""Choices for one width; an action is an index, 0 for `MIN_BITS`."""

FEATURES = (
    "index", "is_depthwise", "is_fully_connected", "log_ic", "log_oc", "kernel", "stride",
    "log_input_size", "log_macs", "log_parameters", "shares_input",
)  # fmt: skip
"""Columns of `SearchSpace.features`: HAQ's layer descriptors (Wang et al. 2019, section 3.1)."""


@dataclass(frozen=True)
class SearchSpace:
    """All policies of one network."""

    graph: Graph

    @property
    def n_layers(self) -> int:
        return len(self.graph.layers)

    @cached_property
    def input_groups(self) -> np.ndarray:
        """Group number of each layer, shape (L,): layers of one group read one stored tensor."""
        group_of = group_of_tensor(tensor_groups(self.graph))
        names = [group_of[layer.inputs[0]].name for layer in self.graph.layers]
        order = list(dict.fromkeys(names))
        return np.array([order.index(name) for name in names])

    @cached_property
    def _shared(self) -> list[np.ndarray]:
        """The layers of each group that has more than one."""
        groups = self.input_groups
        members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
        return [m for m in members if len(m) > 1]

    @cached_property
    def features(self) -> np.ndarray:
        """Descriptors of the layers scaled to about [0, 1], float32 of shape (L, len(FEATURES))."""
        raw = np.array([self._describe(i) for i in range(self.n_layers)], dtype=np.float32)
        scale = np.abs(raw).max(axis=0)
        return raw / np.where(scale > 0, scale, 1.0)

    def _describe(self, index: int) -> tuple[float, ...]:
        layer = self.graph.layers[index]
        (x,) = self.graph.input_shapes(layer)
        window = getattr(layer, "window", None)
        groups = self.input_groups
        return (
            index + 1,
            isinstance(layer, DepthwiseConv2d),
            isinstance(layer, FullyConnected),
            np.log2(x.c),
            np.log2(layer.out_channels),
            window.kernel_h if window else 1,
            window.stride_h if window else 1,
            np.log2(x.size),
            np.log2(self.graph.macs(layer)),
            np.log2(layer.parameter_count),
            (groups == groups[index]).sum() > 1,
        )

    def canonical(self, bits: np.ndarray) -> np.ndarray:
        """The representative of each policy, same shape (..., L, 2): effective input widths."""
        result = np.array(bits, dtype=np.int8)
        for members in self._shared:
            result[..., members, 1] = result[..., members, 1].max(axis=-1, keepdims=True)
        return result

    def random(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """`n` policies drawn uniformly, canonical, shape (n, L, 2)."""
        shape = (n, self.n_layers, 2)
        return self.canonical(rng.integers(MIN_BITS, MAX_BITS + 1, shape))

    def uniform(self, w_bits: int, a_bits: int) -> np.ndarray:
        """The same widths everywhere, shape (L, 2)."""
        return np.tile(np.array([w_bits, a_bits], dtype=np.int8), (self.n_layers, 1))


def to_policy(bits: np.ndarray) -> Policy:
    """The policy of an array (L, 2)."""
    return Policy.of(map(tuple, bits.tolist()))


def to_bits(policies: Iterable[Policy]) -> np.ndarray:
    """Bits of policies, shape (n, L, 2)."""
    return np.array([policy.pairs for policy in policies], dtype=np.int8)
