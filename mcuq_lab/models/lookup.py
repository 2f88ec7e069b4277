"""Networks and data sets as a user names them on a command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mcuq_lab.graph import Graph
from mcuq_lab.models.data import Dataset, load_dataset
from mcuq_lab.models.trained import CHECKPOINTS, load_provenance, trained_graph
from mcuq_lab.settings import Settings, load_settings

UNTRAINED = "untrained weights: its accuracy means nothing"


@dataclass(frozen=True, eq=False)
class Network:
    """A float network, and where its weights come from.

    `test_accuracy` is that of the float network, None for untrained weights; `note` says so.
    """

    graph: Graph
    test_accuracy: float | None
    note: str


def find_dataset(text: str, settings: Settings | None = None) -> Dataset:
    """The data set called `text`, or the CIFAR-10 files in the folder `text`.

    `cifar10` by name is looked up in the settings file (see `mcuq_lab.settings`).

    Raises:
        ConfigError: no such data set or folder, or its files are missing or damaged.
    """
    if "/" in text or Path(text).is_dir():
        return load_dataset("cifar10", Path(text))
    settings = settings or load_settings()
    return load_dataset(text, settings.data_roots.get(text))


def find_network(model: str, data: str, seed: int = 0) -> Network:
    """The zoo's `model` as trained on `data`, or with random weights where no training is stored.

    Untrained networks serve measurements of speed and memory, and tests.

    Raises:
        ConfigError: there is no such model, or its checkpoint is damaged.
    """
    if not (CHECKPOINTS / f"{model}-{data}.npz").is_file():
        import torch  # takes seconds

        from mcuq_lab.models.importer import import_module
        from mcuq_lab.models.zoo import build_model

        torch.manual_seed(seed)
        module = build_model(model).eval()
        return Network(import_module(module, name=model), None, UNTRAINED)
    provenance = load_provenance(model, data)
    return Network(trained_graph(model, data), provenance.test_accuracy, provenance.data_note)
