"""Floor 1: nets, data sets, training, and the way from a torch.nn.Module to a Graph."""

from mcuq_lab.models.data import DATASETS, Dataset, load_dataset
from mcuq_lab.models.float_executor import run_float
from mcuq_lab.models.importer import import_module
from mcuq_lab.models.lookup import Network, find_dataset, find_network
from mcuq_lab.models.trained import (
    Provenance,
    load_graph,
    load_provenance,
    load_trained,
    save_trained,
)
from mcuq_lab.models.training import TrainingConfig, accuracy, train_model
from mcuq_lab.models.zoo import ZOO, build_model

__all__ = [
    "DATASETS",
    "ZOO",
    "Dataset",
    "Network",
    "Provenance",
    "TrainingConfig",
    "accuracy",
    "build_model",
    "find_dataset",
    "find_network",
    "import_module",
    "load_dataset",
    "load_graph",
    "load_provenance",
    "load_trained",
    "run_float",
    "save_trained",
    "train_model",
]
