"""The quantized nets that are committed: integers and steps as npz, provenance as JSON.

Quantization-aware training takes longer than a user wants to wait, so its results are kept. A file
holds the weights as integers and what else `to_integers` needs; the digest beside it makes sure
that the loaded network computes the very integers that were scored.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from mcuq_lab.errors import ConfigError, McuqError
from mcuq_lab.graph import Graph
from mcuq_lab.models.trained import write_npz, write_whole
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize.calibration import StepTables
from mcuq_lab.quantize.export import to_integers
from mcuq_lab.quantize.post_training import quantize
from mcuq_lab.quantize.state import AffineMap, QuantState, integer_weights

CHECKPOINTS = Path(__file__).parent / "checkpoints"

_MIXED = "mixed_"
"""Stands before a digest where a policy is too long for a file's name."""


class Origin(StrEnum):
    """How a quantized network came by its integers."""

    POST_TRAINING = "post-training"
    QUANTIZATION_AWARE = "quantization-aware"


@dataclass(frozen=True)
class QuantizedProvenance:
    """Where a trained quantized net comes from; accuracies are fractions of 1.

    `test_accuracy` and `validation_accuracy` are those of the integers (`run_integers`).
    """

    model: str
    data: str
    policy: str
    command: str
    config: dict
    git_revision: str
    torch_version: str
    digest: str
    """`QuantGraph.digest` of the network that was scored."""
    test_accuracy: float
    test_images: int
    validation_accuracy: float
    validation_images: int
    float_test_accuracy: float
    data_note: str
    seconds: float
    """Wall-clock time since the start or the last resumption, evaluations included."""
    remarks: str = ""
    """What the command alone does not tell."""


@dataclass(frozen=True, eq=False)
class QuantizedNetwork:
    """An integer network and its origin; `test_accuracy` is None where none is on record."""

    graph: QuantGraph
    origin: Origin
    test_accuracy: float | None


def find_quantized(
    graph: Graph, data: str, policy: Policy, tables: StepTables, folder: Path = CHECKPOINTS
) -> QuantizedNetwork:
    """The stored network of `graph` (a net of the zoo, by its name) at `policy`, trained on `data`.

    Where none is stored, the result of post-training quantization with `tables`.

    Raises:
        ConfigError: a stored network is damaged, or the policy is that of another network.
        ModelError, NumericsError: as `quantize` does.
    """
    if not stored_path(graph.name, data, policy, folder).is_file():
        return QuantizedNetwork(quantize(graph, policy, tables), Origin.POST_TRAINING, None)
    provenance = load_quantized_provenance(graph.name, data, policy, folder)
    network = load_quantized(graph, data, policy, folder)
    return QuantizedNetwork(network, Origin.QUANTIZATION_AWARE, provenance.test_accuracy)


def stored_mixed(model: str, data: str, folder: Path = CHECKPOINTS) -> tuple[str, ...]:
    """The policies, as text, of the stored networks whose widths differ from layer to layer.

    Raises:
        ConfigError: the provenance of one is damaged.
    """
    paths = sorted(folder.glob(f"{model}-{data}-{_MIXED}*.npz"))
    return tuple(_read_provenance(path.with_suffix(".json")).policy for path in paths)


def save_quantized(
    state: QuantState, provenance: QuantizedProvenance, folder: Path = CHECKPOINTS
) -> Path:
    """Writes <model>-<data>-<policy>.npz and .json, each atomically; returns the npz's path."""
    widths = (layer.w_bits for layer in state.policy.layers)
    levels = [
        integer_weights(weight, state.weight_scales[name], w_bits)
        for (name, weight), w_bits in zip(state.weights.items(), widths, strict=True)
    ]
    # One array of a kind: a member of its own costs 250 bytes, and a small net has 80.
    arrays = {
        "maps": np.array(json.dumps({n: asdict(m) for n, m in state.maps.items()})),
        "weights": _joined(levels, np.int8),
        "steps": _joined(map(state.weight_scales.get, state.weights), np.float32),
        "biases": _joined(map(state.biases.get, state.weights), np.float32),
    }
    path = stored_path(provenance.model, provenance.data, state.policy, folder)
    write_npz(path, arrays)
    text = json.dumps(asdict(provenance), indent=2) + "\n"
    write_whole(path.with_suffix(".json"), text.encode())
    return path


def load_quantized(
    graph: Graph, data: str, policy: Policy, folder: Path = CHECKPOINTS
) -> QuantGraph:
    """The stored integers of `graph` (a net of the zoo, by its name) at `policy`.

    Raises:
        ConfigError: there is none, or its file is damaged or belongs to another network.
    """
    path = stored_path(graph.name, data, policy, folder)
    command = f"mcuq qat --model {graph.name} --data {data} --policy {policy}"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in folder.glob("*.npz"))) or "none"
        raise ConfigError(
            f"no trained {graph.name} at {policy} for {data} in {folder} (there: {known}); "
            f"train one with `{command}`"
        )
    provenance = load_quantized_provenance(graph.name, data, policy, folder)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            network = to_integers(graph, _state(graph, policy, arrays))
    except McuqError:
        raise
    except Exception as error:
        raise ConfigError(
            f"quantized net {path} cannot be read ({error}); restore it with "
            f"`git checkout -- {path.name}`, or train again: {command}"
        ) from error
    if network.digest != provenance.digest:
        raise ConfigError(
            f"quantized net {path} does not give the integers whose accuracy is on record; restore "
            f"it and its JSON with `git checkout`, or train again: {command}"
        )
    return network


def load_quantized_provenance(
    model: str, data: str, policy: Policy, folder: Path = CHECKPOINTS
) -> QuantizedProvenance:
    """What is known about a stored net. Raises ConfigError if its JSON is missing or damaged."""
    return _read_provenance(stored_path(model, data, policy, folder).with_suffix(".json"))


def _read_provenance(path: Path) -> QuantizedProvenance:
    try:
        return QuantizedProvenance(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"provenance {path} cannot be read ({error}); restore it from the repository"
        ) from error


def _state(graph: Graph, policy: Policy, arrays: Mapping[str, np.ndarray]) -> QuantState:
    layers = graph.layers
    shapes = [layer.weight.shape for layer in layers]
    channels = [(layer.out_channels,) for layer in layers]
    weights, steps, biases = {}, {}, {}
    for layer, levels, step, bias in zip(
        layers,
        _parted(arrays["weights"], shapes),
        _parted(arrays["steps"], channels),
        _parted(arrays["biases"], channels),
        strict=True,
    ):
        # A level times its step, divided by the step again, is the level: |level| <= 128.
        weights[layer.name] = levels * step.reshape(-1, *[1] * (levels.ndim - 1))
        steps[layer.name], biases[layer.name] = step, bias
    maps = {n: AffineMap(**m) for n, m in json.loads(str(arrays["maps"])).items()}
    return QuantState(graph.digest, policy, weights, biases, steps, maps)


def _joined(arrays: Iterable[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.asarray(array, dtype).ravel() for array in arrays])


def _parted(joined: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    sizes = [math.prod(shape) for shape in shapes]
    if joined.size != sum(sizes):
        raise ValueError(f"{joined.size} values, expected {sum(sizes)}")
    parts = np.split(joined, np.cumsum(sizes[:-1]))
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def stored_path(model: str, data: str, policy: Policy, folder: Path = CHECKPOINTS) -> Path:
    """Where the stored network of a model, data set and policy lies, or would lie."""
    text = str(policy)
    if "," in text:
        text = _MIXED + hashlib.sha256(text.encode()).hexdigest()[:12]
    return folder / f"{model}-{data}-{text}.npz"
