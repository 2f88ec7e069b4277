"""What a note says of layers that an engine has no kernel for: which they are, and what runs."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.quantgraph import QOp, QuantGraph, QWeighted

_NAMED = 3
"""So many layers are named one by one; more are counted."""


def nearest_forms(graph: QuantGraph, forms: Mapping[type[QOp], str]) -> str:
    """The network's layers of the given kinds, each with the form in which the engine runs it.

    Args:
        graph: the network.
        forms: by kind of operator, words that follow its name: `as a 1x1 convolution`.

    Returns:
        For example `fc as a 1x1 convolution; add1, add2 (Add) as plain loops`, or "".
    """
    parts = []
    for kind, form in forms.items():
        names = [op.name for op in graph.ops if isinstance(op, kind)]
        if names:
            parts.append(f"{_named(names, kind.__name__.removeprefix('Q'))} {form}")
    return "; ".join(parts)


def at_width(graph: QuantGraph, kind: type[QWeighted], w_bits: int, form: str) -> str:
    """Layers of one kind whose weights have `w_bits`, and their form."""
    names = [op.name for op in graph.ops if isinstance(op, kind) and op.w_bits == w_bits]
    return f"{_named(names, kind.__name__.removeprefix('Q'))} {form}" if names else ""


def odd_channels(graph: QuantGraph, multiple: int, form: str) -> str:
    """Layers with weights whose input channels do not divide by `multiple`, and their form."""
    odd = [op.name for op in _weighted(graph) if _source(graph, op).shape.c % multiple]
    return f"{_named(odd, 'layers')} (channels not divisible by {multiple}) {form}" if odd else ""


def signed_inputs(graph: QuantGraph, form: str) -> str:
    """Layers with weights that read a tensor with negative values, and their form."""
    signed = [op.name for op in _weighted(graph) if _source(graph, op).zero_point]
    return f"{_named(signed, 'layers')} (signed activations) {form}" if signed else ""


def _weighted(graph: QuantGraph) -> list[QOp]:
    return [op for op in graph.ops if isinstance(op, QWeighted)]


def _source(graph: QuantGraph, op: QOp):
    return graph.tensors[op.inputs[0]]


def _named(names: list[str], kind: str) -> str:
    if len(names) > _NAMED:
        return f"{len(names)} {kind}"
    return ", ".join(names)
