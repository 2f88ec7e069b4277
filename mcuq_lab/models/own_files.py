"""A user's own network and data set, each an npz file that every command takes in place of a name.

    graph = import_module(module, (3, 32, 32))
    save_network("gestures.npz", graph, test_accuracy=0.93)
    save_dataset("hands.npz", train_images=..., train_labels=..., test_images=..., ...)

    mcuq search --model gestures.npz --data hands.npz

The file's name is the network's or the data set's own in rows, runs and figures. There are no
pickles in it: nothing in it can run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.models.data import DATASETS, Dataset, cut_validation
from mcuq_lab.models.graph_arrays import graph_arrays, graph_of
from mcuq_lab.models.trained import CHECKPOINTS, write_npz

_SUFFIX = ".npz"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_MOST_CLASSES = 256  # labels are bytes
_FEWEST_IMAGES = 10
"""Of fewer there is no tenth to score policies on."""


@dataclass(frozen=True, eq=False)
class Network:
    """A float network, and where its weights come from.

    `test_accuracy` is that of the float network, None for untrained weights; `note` says so.
    """

    graph: Graph
    test_accuracy: float | None
    note: str


def is_own_file(text: str) -> bool:
    """Whether what a user typed in place of a name is a file of his own."""
    return Path(text).suffix == _SUFFIX


def save_network(path: str | Path, graph: Graph, *, test_accuracy: float, note: str = "") -> Path:
    """Writes a trained network, atomically; returns the path.

    Args:
        path: ends with .npz; its name becomes the network's.
        graph: as `import_module` makes it of a torch.nn.Module.
        test_accuracy: of the float network on the data set's test images, a fraction of 1.
        note: where its weights come from.

    Raises:
        ConfigError: the path's name cannot be one, or the accuracy is none.
    """
    path = Path(path)
    name = _checked_name(path, "network")
    if not 0.0 <= test_accuracy <= 1.0:
        raise ConfigError(f"The accuracy of {path} is {test_accuracy}; give a fraction of 1.")
    known = json.dumps({"test_accuracy": test_accuracy, "note": note})
    arrays = graph_arrays(replace(graph, name=name))
    write_npz(path, {"network": np.array(known), **arrays})
    return path


def load_network(path: str | Path) -> Network:
    """The network of a file that `save_network` wrote, under the file's name.

    Raises:
        ConfigError: the file is missing, damaged or another kind of file.
    """
    path = Path(path)
    name = _checked_name(path, "network")
    with _opened(path, "a network of `mcuq_lab.models.save_network`") as arrays:
        known = json.loads(str(arrays["network"]))
        graph = replace(graph_of(arrays), name=name)
        return Network(graph, float(known["test_accuracy"]), str(known["note"]))


def save_dataset(
    path: str | Path,
    *,
    train_images: npt.ArrayLike,
    train_labels: npt.ArrayLike,
    test_images: npt.ArrayLike,
    test_labels: npt.ArrayLike,
    classes: Sequence[str] = (),
    mirror_keeps_class: bool = False,
    provenance: str = "",
) -> Path:
    """Writes a data set, atomically; returns the path.

    A tenth of the training images, at most 5,000, drawn with a fixed seed, is what a search scores
    its policies on.

    Args:
        path: ends with .npz; its name becomes the data set's.
        train_images: uint8 (n, h, w, c), or (n, h, w) of one channel; a network sees value / 255.
        train_labels: (n,), classes from 0 on, at most 256 of them.
        test_images: likewise; for final numbers only.
        test_labels: likewise.
        classes: their names; by default their numbers.
        mirror_keeps_class: whether a mirrored image is one of the same class, so that training
            may mirror.
        provenance: where the images come from.

    Raises:
        ConfigError: the path's name cannot be one, or arrays do not fit each other.
    """
    path = Path(path)
    _checked_name(path, "data set")
    train = _checked_part(path, "train", train_images, train_labels)
    test = _checked_part(path, "test", test_images, test_labels)
    if train[0].shape[1:] != test[0].shape[1:]:
        raise ConfigError(
            f"Training images of {path} are {train[0].shape[1:]}, test images "
            f"{test[0].shape[1:]}; bring them to one height, width and number of channels."
        )
    count = int(max(train[1].max(), test[1].max())) + 1
    names = tuple(map(str, classes)) or tuple(map(str, range(count)))
    if len(names) < count:
        raise ConfigError(f"{path} has labels up to {count - 1} and {len(names)} names of classes.")
    known = {
        "classes": names,
        "mirror_keeps_class": bool(mirror_keeps_class),
        "provenance": provenance,
    }
    arrays = {
        "dataset": np.array(json.dumps(known)),
        "train_images": train[0],
        "train_labels": train[1],
        "test_images": test[0],
        "test_labels": test[1],
    }
    write_npz(path, arrays)
    return path


def load_own_dataset(path: str | Path) -> Dataset:
    """The data set of a file that `save_dataset` wrote, under the file's name.

    Raises:
        ConfigError: the file is missing, damaged or another kind of file.
    """
    path = Path(path)
    name = _checked_name(path, "data set")
    with _opened(path, "a data set of `mcuq_lab.models.save_dataset`") as arrays:
        known = json.loads(str(arrays["dataset"]))
        train, held_out = cut_validation(arrays["train_images"], arrays["train_labels"])
        return Dataset(
            name,
            *train,
            *held_out,
            arrays["test_images"],
            arrays["test_labels"],
            classes=tuple(known["classes"]),
            provenance=known["provenance"] or f"{path.name}, of the user's own",
            mirror_keeps_class=known["mirror_keeps_class"],
        )


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[Mapping[str, np.ndarray]]:
    """The arrays of a file; whatever fails while they are read says that it is none of `kind`."""
    if not path.is_file():
        raise ConfigError(f"There is no file {path}; give the path of {kind}.")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except Exception as error:
        reason = str(error).strip("'")
        raise ConfigError(
            f"{path} is not {kind}, or damaged ({reason}); write it again."
        ) from error


def _checked_name(path: Path, what: str) -> str:
    """The name that a file gives to what it holds: it stands in the names of runs and files."""
    name = path.stem
    if path.suffix != _SUFFIX or not _NAME.fullmatch(name):
        raise ConfigError(
            f"The file of a {what} gives it its name: {path} must end with {_SUFFIX}, with "
            "letters, digits and underscores before it, a letter first."
        )
    taken = any(CHECKPOINTS.glob(f"{name}-*{_SUFFIX}")) if what == "network" else name in DATASETS
    if taken:
        raise ConfigError(f"{path} has the name of a built-in {what}; rename the file.")
    return name


def _checked_part(
    path: Path, part: str, images: npt.ArrayLike, labels: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, h, w, c) and labels uint8 (n,) of one part."""
    images, labels = np.asarray(images), np.asarray(labels)
    images = images[..., None] if images.ndim == 3 else images
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ConfigError(
            f"{part}_images of {path} are {images.dtype} {images.shape}; give uint8 pixels of "
            "0 to 255, (n, height, width, channels)."
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ConfigError(
            f"{part}_labels of {path} are {labels.dtype} {labels.shape}; give one whole number for "
            f"each of {len(images)} images."
        )
    if len(images) < _FEWEST_IMAGES:
        raise ConfigError(f"{path} has {len(images)} {part} images; give {_FEWEST_IMAGES} or more.")
    if labels.min() < 0 or labels.max() >= _MOST_CLASSES:
        raise ConfigError(
            f"{part}_labels of {path} lie in {labels.min()} .. {labels.max()}; number the classes "
            f"from 0 on, at most {_MOST_CLASSES} of them."
        )
    return images, labels.astype(np.uint8)
