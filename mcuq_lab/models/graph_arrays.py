"""A float graph as arrays that one npz file holds, without pickles: nothing in it can run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

import numpy as np

from mcuq_lab.graph import Activation, Graph, Node, Shape, Window


def graph_arrays(graph: Graph) -> dict[str, np.ndarray]:
    """Arrays by number, and under `graph` all else as JSON text, the digest with it."""
    arrays: dict[str, np.ndarray] = {}
    nodes = [[node.op, _described(node, arrays)] for node in graph.nodes]
    text = json.dumps({"name": graph.name, "digest": graph.digest, "nodes": nodes})
    return {"graph": np.array(text), **arrays}


def graph_of(arrays: Mapping[str, np.ndarray]) -> Graph:
    """The graph that `graph_arrays` described.

    Raises:
        ValueError: it is not the graph that was described. What is no such description at all
            raises anything else.
    """
    stored = json.loads(str(arrays["graph"]))
    graph = Graph(
        stored["name"], tuple(_node(op, values, arrays) for op, values in stored["nodes"])
    )
    if graph.digest != stored["digest"]:
        raise ValueError("its digest is not that of its nodes")
    return graph


def _described(node: Node, arrays: dict[str, np.ndarray]) -> dict[str, object]:
    """The node's values by field as JSON has them; arrays go into `arrays`, under a number."""
    described = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, np.ndarray):
            key = f"array{len(arrays)}"
            arrays[key] = value
            # Those over a dimension of one element are anything, and torch looks at them.
            strides = value.strides if value.flags.c_contiguous else None
            described[field.name] = {"array": key, "strides": strides}
        elif isinstance(value, Shape | Window):
            described[field.name] = {
                type(value).__name__: [getattr(value, f.name) for f in fields(value)]
            }
        elif isinstance(value, Activation):
            described[field.name] = {"Activation": value.value}
        else:
            described[field.name] = value  # names and numbers
    return described


def _node(op: str, described: Mapping[str, object], arrays: Mapping[str, np.ndarray]) -> Node:
    values = {}
    for name, value in described.items():
        match value:
            case {"array": key, "strides": strides}:
                value = arrays[key]
                if strides:
                    value = np.ndarray(value.shape, value.dtype, value, strides=strides)
            case {"Shape": numbers}:
                value = Shape(*numbers)
            case {"Window": numbers}:
                value = Window(*numbers)
            case {"Activation": word}:
                value = Activation(word)
            case list():
                value = tuple(value)
        values[name] = value
    kind = next(kind for kind in _kinds(Node) if kind.__name__ == op)
    return kind(**values)


def _kinds(base: type[Node]) -> set[type[Node]]:
    return {base}.union(*map(_kinds, base.__subclasses__()))
