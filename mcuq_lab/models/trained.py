"""The trained nets that are committed: weights as npz, provenance as JSON.

A weight file holds the module's state dict: filters as float16 (half the size; the accuracy in the
JSON is measured on the stored numbers), biases and batch norm as float32. torch is loaded where
modules are: what is known about a net, and a graph that was kept, can be had without it.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.models.kept_graphs import graph_key, keep_graph, kept_graph

if TYPE_CHECKING:
    import torch
    from torch import nn

CHECKPOINTS = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class Provenance:
    """Where a trained net comes from; accuracies are fractions of 1."""

    model: str
    data: str
    command: str
    config: dict
    epochs_done: int
    git_revision: str
    torch_version: str
    test_accuracy: float
    test_images: int
    validation_accuracy: float
    validation_images: int
    data_note: str
    seconds: float
    """Wall-clock time since the start or the last resumption, the final evaluation included."""
    remarks: str = ""
    """What the command alone does not tell."""


def save_trained(module: nn.Module, provenance: Provenance, folder: Path = CHECKPOINTS) -> Path:
    """Write <model>-<data>.npz and .json (each atomically) into folder; returns the npz's path."""
    path = _path(provenance.model, provenance.data, folder)
    write_npz(path, {k: _stored(v) for k, v in module.state_dict().items()})
    text = json.dumps(asdict(provenance), indent=2) + "\n"
    write_whole(path.with_suffix(".json"), text.encode())
    return path


def as_stored(module: nn.Module) -> nn.Module:
    """Round the module's tensors, in place, to what a weight file keeps of them."""
    import torch  # takes seconds

    rounded = {k: torch.from_numpy(_stored(v)).to(v.dtype) for k, v in module.state_dict().items()}
    module.load_state_dict(rounded)
    return module


def load_trained(model: str, data: str, folder: Path = CHECKPOINTS) -> nn.Module:
    """The committed net `model` trained on `data`, in eval mode.

    Raises ConfigError if there is none, or its file is damaged.
    """
    path = _path(model, data, folder)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.npz"))) or "none"
        raise ConfigError(
            f"no trained {model} for {data} in {folder} (there: {known}); train one with "
            f"`python -m mcuq_lab.models.train --model {model} --data {data}`"
        )
    import torch  # takes seconds

    from mcuq_lab.models.zoo import build_model

    provenance = load_provenance(model, data, folder)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {k: torch.from_numpy(arrays[k]) for k in arrays.files}
        module = build_model(model)
        module.load_state_dict(state)
    except Exception as error:
        raise ConfigError(
            f"weight file {path} cannot be read ({error}); restore it with "
            f"`git checkout -- {path.name}`, or train again: {provenance.command}"
        ) from error
    return module.eval()


def load_provenance(model: str, data: str, folder: Path = CHECKPOINTS) -> Provenance:
    """What is known about a trained net. Raises ConfigError if its JSON is missing or damaged."""
    path = _path(model, data, folder).with_suffix(".json")
    try:
        return Provenance(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"provenance {path} cannot be read ({error}); restore it from the repository"
        ) from error


def load_graph(model: str, data: str, folder: Path = CHECKPOINTS) -> Graph:
    """The trained net as a Graph, batch norm folded; raises ConfigError as load_trained does."""
    return _imported(model, data, folder, f"{model}-{data}")


def trained_graph(model: str, data: str, folder: Path = CHECKPOINTS) -> Graph:
    """The graph of `load_graph` under the name `model`, imported once for each weight file.

    Raises ConfigError as load_trained does.
    """
    weights = _path(model, data, folder)
    key = graph_key(model, weights.read_bytes()) if weights.is_file() else None
    if key and (kept := kept_graph(key)):
        return kept
    graph = _imported(model, data, folder, model)
    if key:
        keep_graph(graph, key)
    return graph


def _imported(model: str, data: str, folder: Path, name: str) -> Graph:
    from mcuq_lab.models.importer import import_module  # torch with it, takes seconds

    return import_module(load_trained(model, data, folder), name=name)


def git_revision(folder: Path = CHECKPOINTS.parent) -> str:
    """The commit that the sources in folder are at, `-dirty` if changed; `unknown` without git."""
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", "*.py")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("-dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def _path(model: str, data: str, folder: Path) -> Path:
    return folder / f"{model}-{data}.npz"


def _stored(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.detach().cpu().contiguous().numpy()
    return array.astype(np.float16) if array.ndim > 1 else array


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed npz file as `write_whole` does."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_whole(path, buffer.getvalue())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, and its folder if missing, so that a reader finds all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".part")
    scratch.write_bytes(content)
    os.replace(scratch, path)
