"""Step sizes by least squares, for all widths at once.

A search looks at thousands of policies, but each step depends on its tensor and one width only: so
they are all found once, and a policy just picks from the tables.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.quantize.compiled import histogram_errors, row_errors
from mcuq_lab.quantize.inputs import input_map
from mcuq_lab.quantize.network import float_logits, graph_parameters, real_images
from mcuq_lab.quantize.state import AffineMap, weight_limits
from mcuq_lab.quantize.tensors import TensorGroup, group_of_tensor, tensor_groups

CALIBRATION_IMAGES = 512
"""Training images that a network is calibrated on, unless something else is asked for."""

WIDTHS = tuple(range(MIN_BITS, MAX_BITS + 1))

_BINS = 2048
# Fractions of the largest magnitude that the steps on trial just cover.
_WEIGHT_FRACTIONS = np.linspace(0.1, 1.05, 191)
_NON_NEGATIVE_FRACTIONS = np.linspace(0.03, 1.0, 98)
_SIGNED_FRACTIONS = np.linspace(0.1, 1.0, 19)


@dataclass(frozen=True, eq=False)
class StepTables:
    """Initial steps of one network for every width in WIDTHS.

    Attributes:
        graph_digest: of the float network.
        weight_scales: float32 (widths, oc) by layer.
        maps: one AffineMap a width, by group of tensors.
        images: the uint8 NHWC calibration images, on which a policy's statistics are corrected.
    """

    graph_digest: str
    weight_scales: Mapping[str, np.ndarray]
    maps: Mapping[str, tuple[AffineMap, ...]]
    images: np.ndarray

    def save(self, path: Path) -> None:
        """Writes an npz file."""
        header = {
            "graph_digest": self.graph_digest,
            "layers": list(self.weight_scales),
            "maps": {
                name: [[m.scale, m.zero_point] for m in maps] for name, maps in self.maps.items()
            },
        }
        arrays = {f"scale_{i}": scale for i, scale in enumerate(self.weight_scales.values())}
        buffer = io.BytesIO()
        np.savez(buffer, header=np.array(json.dumps(header)), images=self.images, **arrays)
        Path(path).write_bytes(buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> StepTables:
        """Reads what `save` wrote; raises ConfigError if the file is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(str(arrays["header"]))
                images = arrays["images"]
                scales = {name: arrays[f"scale_{i}"] for i, name in enumerate(header["layers"])}
            maps = {
                name: tuple(AffineMap(b, *pair) for b, pair in zip(WIDTHS, pairs, strict=True))
                for name, pairs in header["maps"].items()
            }
            return cls(header["graph_digest"], scales, maps, images)
        except Exception as error:
            raise ConfigError(
                f"'{path}' holds no step tables ({error}); calibrate again to write them."
            ) from error


@torch.no_grad()
def calibrate(graph: Graph, images: np.ndarray) -> StepTables:
    """Least-squares steps of all weights and activations of `graph`, for all widths.

    Args:
        graph: the float network.
        images: a few hundred uint8 NHWC training images; 256 do.

    Raises:
        ConfigError: no images, or images that are not what the network takes.
        ModelError: tensors that cannot share one quantization (see `tensor_groups`).
    """
    if len(images) == 0:
        raise ConfigError("Calibration needs images; give a few hundred from the training part.")
    shape = graph.input.shape
    if images.shape[1:] != (shape.h, shape.w, shape.c):
        raise ConfigError(
            f"'{graph.name}' takes images of {shape}, and these are of "
            f"{'x'.join(map(str, images.shape[1:]))}; give the data set that it was trained on."
        )
    groups = tensor_groups(graph)
    histograms = _observe(graph, groups, images)
    maps = {}
    for group in groups:
        if graph.input.name in group.members:
            maps[group.name] = tuple(input_map(graph.input, bits) for bits in WIDTHS)
        else:
            values, counts = (np.concatenate(x) for x in zip(*histograms[group.name], strict=True))
            maps[group.name] = tuple(_fit_map(group, values, counts, bits) for bits in WIDTHS)
    scales = {
        layer.name: np.stack([fit_weight_scale(layer.weight, bits) for bits in WIDTHS])
        for layer in graph.layers
    }
    return StepTables(graph.digest, scales, maps, images)


def fit_weight_scale(weight: np.ndarray, bits: int) -> np.ndarray:
    """float32 (oc,): for each output channel, the step of least squared error, over a grid."""
    rows = np.ascontiguousarray(weight, np.float32).reshape(len(weight), -1)
    low, high = weight_limits(bits)
    whole = np.maximum(rows.max(1) / high, rows.min(1) / low)
    whole = np.where(whole > 0, whole, 1.0)  # a channel of zeros: any step does
    scales = (_WEIGHT_FRACTIONS[:, None] * whole).astype(np.float32)
    errors = np.empty(scales.shape, np.float32)
    row_errors(rows, scales, low, high, errors)
    return scales[errors.argmin(0), np.arange(len(rows))]


def _observe(graph: Graph, groups: tuple[TensorGroup, ...], images: np.ndarray):
    """Histograms (values, counts) of every computed tensor, by the group's name."""
    group_of = group_of_tensor(groups)
    histograms: dict[str, list] = {group.name: [] for group in groups}

    def observe(name: str, y: torch.Tensor) -> torch.Tensor:
        if name in group_of[name].computed:
            histograms[group_of[name].name].append(_histogram(y))
        return y

    float_logits(graph, graph_parameters(graph), real_images(graph, images), observe)
    return histograms


def _histogram(y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Bin centres and counts, zeros left out: every map represents zero exactly."""
    values = y.numpy()
    y = torch.from_numpy(values[values != 0])  # numpy selects four times as fast as torch
    if y.numel() == 0:
        return np.zeros(1), np.zeros(1)
    low, high = y.min().item(), y.max().item()
    counts = torch.histc(y, _BINS, low, high).double().numpy()
    return low + (np.arange(_BINS) + 0.5) * ((high - low) / _BINS), counts


def _fit_map(group: TensorGroup, values: np.ndarray, counts: np.ndarray, bits: int) -> AffineMap:
    """The scale and zero point of least squared error, over a grid."""
    qmax = (1 << bits) - 1
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    if low == high:
        return AffineMap(bits, 1.0 / qmax, 0)
    if group.non_negative:
        scales = _NON_NEGATIVE_FRACTIONS * (high / qmax)
        zeros = np.zeros(len(scales), np.int64)
    else:
        below, above = np.meshgrid(_SIGNED_FRACTIONS * low, _SIGNED_FRACTIONS * high)
        scales = ((above - below) / qmax).ravel()
        zeros = np.rint(-below.ravel() / scales).astype(np.int64)
    if group.limit is not None:
        scales = np.minimum(scales, group.limit / qmax)
    errors = np.empty(len(scales))
    histogram_errors(values, counts, scales, zeros, qmax, errors)
    best = errors.argmin()
    return AffineMap(bits, float(scales[best]), int(zeros[best]))
