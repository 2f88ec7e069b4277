"""What `measure` and `export` start from: a trained network, quantized at a policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer

from mcuq_lab.models import Dataset, Network, find_dataset, find_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize import Origin, calibrate, find_quantized, quantize_input
from mcuq_lab.quantize.calibration import CALIBRATION_IMAGES

PolicyText = Annotated[
    str, typer.Option("--policy", help="w4a4, or one pair a layer (w4a8,w2a2,...), or a JSON file.")
]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A quantized network with its data."""

    dataset: Dataset
    network: Network
    quantized: QuantGraph
    origin: Origin

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Quantized inputs for uint8 images (N, h, w, c)."""
        node = self.network.graph.input
        return quantize_input(images, self.quantized.input, node.low, node.high)


def prepare(model: str, data: str, policy: str) -> Prepared:
    """Loads a network quantized: trained at this policy where such a net is stored, else
    calibrated and quantized here (post-training: least-squares steps, no SGD)."""
    dataset = find_dataset(data)
    network = find_network(model, dataset.name)
    graph = network.graph
    tables = calibrate(graph, dataset.train_images[:CALIBRATION_IMAGES])
    chosen = Policy.parse(policy, len(graph.layers))
    found = find_quantized(graph, dataset.name, chosen, tables)
    return Prepared(dataset, network, found.graph, found.origin)
