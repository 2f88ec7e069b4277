"""Networks and data sets as a user names them on a command line."""

from __future__ import annotations

from pathlib import Path

from mcuq_lab.models.data import DATASETS, Dataset, load_dataset
from mcuq_lab.models.own_files import Network, is_own_file, load_network, load_own_dataset
from mcuq_lab.models.trained import CHECKPOINTS, load_provenance, trained_graph
from mcuq_lab.settings import Settings, load_settings

UNTRAINED = "untrained weights: its accuracy means nothing"


def find_dataset(text: str, settings: Settings | None = None) -> Dataset:
    """The data set called `text`, or that of a user's file, or the CIFAR-10 files in a folder.

    `cifar10` by name is looked up in the settings file (see `mcuq_lab.settings`).

    Raises:
        ConfigError: no such data set, file or folder, or its files are missing or damaged.
    """
    if is_own_file(text):
        return load_own_dataset(text)
    if _is_folder(text):
        return load_dataset("cifar10", Path(text))
    settings = settings or load_settings()
    return load_dataset(text, settings.data_roots.get(text))


def find_network(model: str, data: str, seed: int = 0) -> Network:
    """The zoo's `model` as trained on `data`, or with random weights where no training is stored.

    Untrained networks serve measurements of speed and memory, and tests. A user's file is taken
    as it is.

    Raises:
        ConfigError: a checkpoint or file is missing or damaged.
        ModelError: there is no such model.
    """
    if is_own_file(model):
        return load_network(model)
    if not (CHECKPOINTS / f"{model}-{data}.npz").is_file():
        import torch  # takes seconds

        from mcuq_lab.models.importer import import_module
        from mcuq_lab.models.zoo import build_model

        torch.manual_seed(seed)
        module = build_model(model).eval()
        return Network(import_module(module, name=model), None, UNTRAINED)
    provenance = load_provenance(model, data)
    return Network(trained_graph(model, data), provenance.test_accuracy, provenance.data_note)


def network_name(text: str) -> str:
    """The name, in rows and runs, of the network that a user calls `text`."""
    return Path(text).stem if is_own_file(text) else text


def dataset_name(text: str) -> str:
    """The same of a data set."""
    if is_own_file(text):
        return Path(text).stem
    return "cifar10" if _is_folder(text) else text


def located_network(text: str) -> str:
    """What a user calls a network, so that it is found from any working directory."""
    return str(Path(text).resolve()) if is_own_file(text) else text


def located_dataset(text: str) -> str:
    """The same of a data set."""
    return str(Path(text).resolve()) if is_own_file(text) or _is_folder(text) else text


def _is_folder(text: str) -> bool:
    return text not in DATASETS and ("/" in text or Path(text).is_dir())
