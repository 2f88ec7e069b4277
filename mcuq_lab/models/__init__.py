"""Floor 1: nets, data sets, training, and the way from a torch.nn.Module to a Graph.

What needs torch is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module as _import_module

from mcuq_lab.models.data import DATASETS, Dataset, load_dataset
from mcuq_lab.models.lookup import (
    dataset_name,
    find_dataset,
    find_network,
    located_dataset,
    located_network,
    network_name,
)
from mcuq_lab.models.own_files import (
    Network,
    load_network,
    load_own_dataset,
    save_dataset,
    save_network,
)
from mcuq_lab.models.trained import (
    Provenance,
    load_graph,
    load_provenance,
    load_trained,
    save_trained,
)

_WITH_TORCH = {
    "ZOO": "zoo",
    "TrainingConfig": "training",
    "accuracy": "training",
    "build_model": "zoo",
    "import_module": "importer",
    "run_float": "float_executor",
    "train_model": "training",
}

__all__ = [
    "DATASETS",
    "ZOO",
    "Dataset",
    "Network",
    "Provenance",
    "TrainingConfig",
    "accuracy",
    "build_model",
    "dataset_name",
    "find_dataset",
    "find_network",
    "import_module",
    "load_dataset",
    "load_graph",
    "load_network",
    "load_own_dataset",
    "load_provenance",
    "load_trained",
    "located_dataset",
    "located_network",
    "network_name",
    "run_float",
    "save_dataset",
    "save_network",
    "save_trained",
    "train_model",
]


def __getattr__(name: str):
    if name in _WITH_TORCH:
        return getattr(_import_module(f"{__name__}.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
