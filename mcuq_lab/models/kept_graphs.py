"""The graphs of the committed nets, kept in the user's cache directory (mcuq/graphs).

To import a trained net loads torch.export, and with it two seconds' worth of the compiler that it
is a part of. What the import depends on names the file: the weights, its own source, the versions
of torch and numpy. So a kept graph never becomes wrong, only useless; its digest is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import platformdirs

from mcuq_lab import graph as graph_module
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

_LIMIT_FILES = 40
"""Kept at most, those written last: 10 to 30 MB."""


def graph_path(model: str, weights: bytes) -> Path:
    """Where the graph of the zoo's `model` with the weight file `weights` is, or would be, kept."""
    state = hashlib.sha256()
    parts = [model.encode(), weights, version("torch").encode(), version("numpy").encode()]
    for part in (*parts, *(path.read_bytes() for path in _IMPORTED_BY)):
        state.update(len(part).to_bytes(8, "little") + part)
    folder = platformdirs.user_cache_path("mcuq") / "graphs"
    return folder / f"{model}-{state.hexdigest()[:32]}.npz"


def keep_graph(graph: Graph, path: Path) -> None:
    """Writes a graph, whole or not at all; where that fails, importing costs its time again."""
    arrays: dict[str, np.ndarray] = {}
    nodes = [[node.op, _described(node, arrays)] for node in graph.nodes]
    text = json.dumps({"name": graph.name, "digest": graph.digest, "nodes": nodes})
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as scratch:
            pass
        try:
            with open(scratch.name, "wb") as file:
                np.savez(file, graph=np.array(text), **arrays)
            os.replace(scratch.name, path)
        finally:
            Path(scratch.name).unlink(missing_ok=True)
        by_age = sorted(path.parent.glob("*.npz"), key=lambda kept: kept.stat().st_mtime)
        for old in by_age[:-_LIMIT_FILES]:
            old.unlink(missing_ok=True)


def kept_graph(path: Path) -> Graph | None:
    """The graph that `keep_graph` wrote; None if there is none, or its file is damaged."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            stored = json.loads(str(arrays["graph"]))
            nodes = tuple(_node(op, values, arrays) for op, values in stored["nodes"])
        graph = Graph(stored["name"], nodes)
    except Exception:  # a torn file may fail in any way, and is made again
        return None
    return graph if graph.digest == stored["digest"] else None


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
