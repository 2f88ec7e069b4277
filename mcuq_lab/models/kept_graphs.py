"""The graphs of the committed nets, kept in the user's cache directory (mcuq/graphs).

To import a trained net loads torch.export, and with it two seconds' worth of the compiler that it
is a part of. What the import depends on names the file: the weights, its own source, the versions
of torch and numpy. So a kept graph never becomes wrong, only useless; its digest is checked.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mcuq_lab import graph as graph_module
from mcuq_lab.content_cache import ContentCache, content_key, user_cache
from mcuq_lab.graph import Activation, Graph, Node, Shape, Window

_HERE = Path(__file__).parent

_IMPORTED_BY = (
    Path(graph_module.__file__),
    *sorted((_HERE / "importer").glob("*.py")),
    _HERE / "kept_graphs.py",
    _HERE / "trained.py",
    _HERE / "zoo.py",
)
"""The source that decides what becomes of a weight file."""

_LIMIT_BYTES = 32 << 20
"""About 40 graphs, those used last."""


def graph_key(model: str, weights: bytes) -> str:
    """Names the graph of the zoo's `model` with the weight file `weights`."""
    sources = (path.read_bytes() for path in _IMPORTED_BY)
    return content_key(model, weights, version("torch"), version("numpy"), *sources)


def keep_graph(graph: Graph, key: str) -> None:
    """Keeps a graph, whole or not at all; where that fails, importing costs its time again."""
    arrays: dict[str, np.ndarray] = {}
    nodes = [[node.op, _described(node, arrays)] for node in graph.nodes]
    text = json.dumps({"name": graph.name, "digest": graph.digest, "nodes": nodes})
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "graph.npz"
        np.savez(made, graph=np.array(text), **arrays)
        _cache().store(key, made)


def kept_graph(key: str) -> Graph | None:
    """The graph that `keep_graph` kept; None if there is none, or its file is damaged."""
    try:
        path = _cache().find(key)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as arrays:
            stored = json.loads(str(arrays["graph"]))
            nodes = tuple(_node(op, values, arrays) for op, values in stored["nodes"])
        graph = Graph(stored["name"], nodes)
    except Exception:  # a torn file may fail in any way, and is made again
        return None
    return graph if graph.digest == stored["digest"] else None


def _cache() -> ContentCache:
    return user_cache(_LIMIT_BYTES, "graphs")


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
