"""The graphs of the committed nets, kept in the user's cache directory (mcuq/graphs).

To import a trained net loads torch.export, and with it two seconds' worth of the compiler that it
is a part of. What the import depends on names the file: the weights, its own source, the versions
of torch and numpy. So a kept graph never becomes wrong, only useless; its digest is checked.
"""

from __future__ import annotations

import contextlib
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mcuq_lab import graph as graph_module
from mcuq_lab.content_cache import ContentCache, content_key, user_cache
from mcuq_lab.graph import Graph
from mcuq_lab.models.graph_arrays import graph_arrays, graph_of

_HERE = Path(__file__).parent

_IMPORTED_BY = (
    Path(graph_module.__file__),
    *sorted((_HERE / "importer").glob("*.py")),
    _HERE / "graph_arrays.py",
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
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "graph.npz"
        np.savez(made, **graph_arrays(graph))
        _cache().store(key, made)


def kept_graph(key: str) -> Graph | None:
    """The graph that `keep_graph` kept; None if there is none, or its file is damaged."""
    try:
        path = _cache().find(key)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return graph_of(arrays)
    except Exception:  # a torn file may fail in any way, and is made again
        return None


def _cache() -> ContentCache:
    return user_cache(_LIMIT_BYTES, "graphs")
