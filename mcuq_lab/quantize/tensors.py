"""Which tensors share one quantization, what range it must cover, and how wide a policy makes it.

Maximum pooling, flattening and concatenation leave integers as they are, so their inputs and
outputs form one group with one scale, zero point and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mcuq_lab.errors import ConfigError, ModelError
from mcuq_lab.graph import (
    Activation,
    Add,
    AveragePool,
    Concat,
    Flatten,
    GlobalAveragePool,
    Graph,
    Input,
    MaxPool,
    Node,
    WeightedNode,
)
from mcuq_lab.policy import Policy

OUTPUT_BITS = 8
"""Width of the network's output."""

_SAME_INTEGERS = (MaxPool, Flatten, Concat)
_KEEPS_SIGN = (AveragePool, GlobalAveragePool, *_SAME_INTEGERS)


@dataclass(frozen=True)
class TensorGroup:
    """Tensors that share scale, zero point and width.

    Attributes:
        name: of the group: its first tensor's in graph order.
        members: all its tensors, in graph order.
        computed: the members that an operator computes anew (the others are the same integers).
        non_negative: real values are never below 0, so the zero point is 0 and the saturation at
            0 is the ReLU.
        limit: no stored value may stand for more than this (6 behind ReLU6), or None.
    """

    name: str
    members: tuple[str, ...]
    computed: tuple[str, ...]
    non_negative: bool
    limit: float | None


def tensor_groups(graph: Graph) -> tuple[TensorGroup, ...]:
    """The groups of `graph`, ordered by their first tensors.

    Raises:
        ModelError: a concatenation joins a ReLU's output with values that can be negative: their
            common zero point would have to be 0 for the one and positive for the others.
    """
    root = _roots(graph)
    signed = _signed_tensors(graph)
    groups = []
    for name in dict.fromkeys(root.values()):
        members = tuple(node for node in graph.nodes if root[node.name] == name)
        computed = tuple(node for node in members if not isinstance(node, _SAME_INTEGERS))
        rectified = [node for node in computed if _activation(node) is not Activation.NONE]
        negative = [node for node in computed if node.name in signed]
        if rectified and negative:
            raise ModelError(
                f"'{rectified[0].name}' ends in {_activation(rectified[0])} and shares its "
                f"integers with '{negative[0].name}', which can be negative (a concatenation joins "
                "them). "
                "Give both the same activation, or none."
            )
        capped = any(_activation(node) is Activation.RELU6 for node in computed)
        groups.append(
            TensorGroup(
                name,
                tuple(node.name for node in members),
                tuple(node.name for node in computed),
                non_negative=not negative,
                limit=6.0 if capped else None,
            )
        )
    return tuple(groups)


def group_of_tensor(groups: tuple[TensorGroup, ...]) -> dict[str, TensorGroup]:
    """The group of every tensor, by the tensor's name."""
    return {member: group for group in groups for member in group.members}


def group_bits(
    graph: Graph, policy: Policy, groups: tuple[TensorGroup, ...] | None = None
) -> dict[str, int]:
    """Width of every group under `policy`, by the group's name.

    It is the largest `a_bits` of the layers that read the group. What only operators without
    weights read takes the width of their results; the network's output has OUTPUT_BITS.

    Raises:
        ConfigError: the policy names another number of layers.
    """
    if len(policy.layers) != len(graph.layers):
        raise ConfigError(
            f"The policy names {len(policy.layers)} layers, '{graph.name}' has "
            f"{len(graph.layers)}; give one pair for each of Graph.layers."
        )
    groups = tensor_groups(graph) if groups is None else groups
    group_of = group_of_tensor(groups)
    asked: dict[str, int] = {group_of[graph.output.name].name: OUTPUT_BITS}
    for layer, bits in zip(graph.layers, policy.layers, strict=True):
        name = group_of[layer.inputs[0]].name
        asked[name] = max(asked.get(name, 0), bits.a_bits)
    readers = _weightless_readers(graph, group_of)
    return {group.name: _width(group.name, asked, readers, frozenset()) for group in groups}


def _width(
    name: str, asked: Mapping[str, int], readers: Mapping[str, set[str]], seen: frozenset[str]
) -> int:
    if name in asked:
        return asked[name]
    # A group may read itself through an addition inside a concatenation: leave such loops out.
    following = readers[name] - seen - {name}
    return max((_width(r, asked, readers, seen | {name}) for r in following), default=OUTPUT_BITS)


def _weightless_readers(graph: Graph, group_of: Mapping[str, TensorGroup]) -> dict[str, set[str]]:
    """For every group, the groups that operators without weights compute from it."""
    readers: dict[str, set[str]] = {group.name: set() for group in group_of.values()}
    for node in graph.nodes:
        if not isinstance(node, WeightedNode):
            for source in node.inputs:
                readers[group_of[source].name].add(group_of[node.name].name)
    return readers


def _roots(graph: Graph) -> dict[str, str]:
    """Union-find, with the earliest tensor of each group as its root."""
    parent = {node.name: node.name for node in graph.nodes}
    order = {node.name: i for i, node in enumerate(graph.nodes)}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        if isinstance(node, _SAME_INTEGERS):
            for source in node.inputs:
                first, second = sorted((find(source), find(node.name)), key=order.__getitem__)
                parent[second] = first
    return {name: find(name) for name in parent}


def _signed_tensors(graph: Graph) -> set[str]:
    """Names of the tensors whose real values can be negative."""
    signed: set[str] = set()
    for node in graph.nodes:
        if isinstance(node, Input):
            negative = node.low < 0
        elif isinstance(node, _KEEPS_SIGN) or (
            isinstance(node, Add) and node.activation is Activation.NONE
        ):
            negative = any(source in signed for source in node.inputs)
        else:
            negative = _activation(node) is Activation.NONE
        if negative:
            signed.add(node.name)
    return signed


def _activation(node: Node) -> Activation:
    return getattr(node, "activation", Activation.NONE)
