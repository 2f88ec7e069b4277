"""Everything real-valued that an integer network is made of, for one policy.

Post-training quantization makes a `QuantState` from tables, fine-tuning makes a better one, and
`to_integers` turns it into a `QuantGraph`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy


@dataclass(frozen=True)
class AffineMap:
    """How a group of tensors stores real values: `scale * (u - zero_point)`, u of `bits` bits."""

    bits: int
    scale: float
    zero_point: int

    @property
    def qmax(self) -> int:
        return (1 << self.bits) - 1


@dataclass(frozen=True, eq=False)
class QuantState:
    """Real weights and steps of a network under one policy.

    Attributes:
        graph_digest: digest of the float network that it was made from.
        policy: the widths asked for.
        weights: float32 weights by layer, in the graph's layout (not yet rounded to steps).
        biases: float32 biases by layer.
        weight_scales: float32 step of each output channel, by layer.
        maps: affine map of each group of tensors, by the group's name.
    """

    graph_digest: str
    policy: Policy
    weights: Mapping[str, np.ndarray]
    biases: Mapping[str, np.ndarray]
    weight_scales: Mapping[str, np.ndarray]
    maps: Mapping[str, AffineMap]

    def save(self, path: Path) -> None:
        """Writes an npz file."""
        header = {
            "graph_digest": self.graph_digest,
            "policy": [list(pair) for pair in self.policy.pairs],
            "layers": list(self.weights),
            "maps": {name: asdict(affine) for name, affine in self.maps.items()},
        }
        arrays = {"header": np.array(json.dumps(header))}
        for i, name in enumerate(self.weights):
            arrays[f"weight_{i}"] = self.weights[name]
            arrays[f"bias_{i}"] = self.biases[name]
            arrays[f"scale_{i}"] = self.weight_scales[name]
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        Path(path).write_bytes(buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> QuantState:
        """Reads what `save` wrote; raises ConfigError if the file is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                header = json.loads(str(arrays["header"]))
                layers = header["layers"]
                return cls(
                    header["graph_digest"],
                    Policy.of(header["policy"]),
                    {name: arrays[f"weight_{i}"] for i, name in enumerate(layers)},
                    {name: arrays[f"bias_{i}"] for i, name in enumerate(layers)},
                    {name: arrays[f"scale_{i}"] for i, name in enumerate(layers)},
                    {name: AffineMap(**affine) for name, affine in header["maps"].items()},
                )
        except Exception as error:
            raise ConfigError(
                f"'{path}' holds no quantization state ({error}); fine-tune again to write one."
            ) from error


def weight_limits(bits: int) -> tuple[int, int]:
    """Lowest and highest integer of a signed weight of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def integer_weights(weight: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    """int8 weights: float32 (oc, ...) divided by the float32 steps (oc,), rounded half to even."""
    steps = np.asarray(scale, np.float32).reshape(-1, *[1] * (weight.ndim - 1))
    levels = np.rint(np.asarray(weight, np.float32) / steps)
    return levels.clip(*weight_limits(bits)).astype(np.int8)
