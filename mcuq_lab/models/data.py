"""The data sets: images in memory as uint8 NHWC, split into train, validation and test.

The validation part is cut from the training images with a fixed seed and is what a search scores
its policies on; the test part is for the final numbers only.
"""

import gzip
import hashlib
import importlib.util
import io
import os
import pickle
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mcuq_lab.errors import ConfigError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint8]

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SPLIT_SEED = 2025
_MOST_VALIDATION = 5000
DATASETS = ("digits", "cifar10")

_PARQUET_FILES = ("train.parquet", "test.parquet")
_PICKLE_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_PICKLE_FOLDER = "cifar-10-batches-py"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels in memory; images are uint8 NHWC (RGB), labels uint8 class indices."""

    name: str
    train_images: Images = field(repr=False)
    train_labels: Labels = field(repr=False)
    validation_images: Images = field(repr=False)
    validation_labels: Labels = field(repr=False)
    test_images: Images = field(repr=False)
    test_labels: Labels = field(repr=False)
    classes: tuple[str, ...]
    provenance: str
    # Mirroring an image keeps its class (true of objects, not of digits).
    mirror_keeps_class: bool


def load_dataset(name: str, root: str | Path | None = None) -> Dataset:
    """Load `digits` (comes with scikit-learn, needs no files) or `cifar10` (from the folder root).

    root for cifar10 holds either train.parquet and test.parquet (columns jpeg, label) or
    torchvision's cifar-10-batches-py folder (or is that folder).
    Decoded JPEG images are cached in the user's cache directory (mcuq/, 180 MB for CIFAR-10).
    Raises ConfigError if the name is unknown or the files are missing or unreadable.
    """
    if name == "digits":
        return _load_digits()
    if name == "cifar10":
        return _load_cifar10(root)
    raise ConfigError(f"data set {name!r} is unknown; choose one of {', '.join(DATASETS)}")


def _load_digits() -> Dataset:
    from PIL import Image

    levels, labels = _digits_of_sklearn()
    grey = np.round(levels * (255 / 16)).astype(np.uint8)
    large = np.stack(
        [np.asarray(Image.fromarray(g).resize((32, 32), Image.Resampling.BILINEAR)) for g in grey]
    )
    images = np.repeat(large[..., None], 3, axis=-1)
    test, rest = _cut(labels.size, 360)
    validation, train = rest[:240], rest[240:]
    return Dataset(
        "digits",
        images[train],
        labels[train],
        images[validation],
        labels[validation],
        images[test],
        labels[test],
        classes=tuple(str(d) for d in range(10)),
        provenance="scikit-learn load_digits (UCI optical digits, 8x8 grey, 1,797 images), "
        "resized bilinearly to 32x32 and repeated over RGB",
        mirror_keeps_class=False,
    )


def _digits_of_sklearn() -> tuple[npt.NDArray[np.float64], Labels]:
    """The images, (n, 8, 8) levels of 0..16, and the labels of scikit-learn's `load_digits`.

    Read from its file: importing sklearn.datasets takes more than a second, scipy with it.
    """
    package = importlib.util.find_spec("sklearn")  # finds it, runs nothing of it
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0] if folders else "") / "datasets" / "data" / "digits.csv.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            table = np.loadtxt(file, delimiter=",")
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.uint8)
    from sklearn.datasets import load_digits  # slow; for a release that keeps it elsewhere

    digits = load_digits()
    return digits.images, digits.target.astype(np.uint8)


def _load_cifar10(root: str | Path | None) -> Dataset:
    if root is None:
        raise ConfigError(
            "data set 'cifar10' needs data_root, the folder that holds "
            f"{' and '.join(_PARQUET_FILES)} or {_PICKLE_FOLDER}/: name it under [data] in "
            "mcuq.toml, or in place of the data set's name; the data set 'digits' needs none"
        )
    root = Path(root).expanduser()
    if all((root / f).is_file() for f in _PARQUET_FILES):
        train, test = (_read_parquet(root / f) for f in _PARQUET_FILES)
        provenance = "CIFAR-10 decoded from JPEG (32x32, about quality 75, 4:2:0): accuracies are "
        provenance += "2-3 points below those on the original pixels"
    elif (folder := _pickle_folder(root)) is not None:
        parts = [_read_pickle(folder / f) for f in _PICKLE_FILES]
        train = tuple(np.concatenate(column) for column in zip(*parts[:-1], strict=True))
        test = parts[-1]
        provenance = "CIFAR-10, original pixels (cifar-10-batches-py)"
    else:
        raise ConfigError(_missing_message(root))
    kept, held_out = cut_validation(*train)
    # Files may be sorted by class, and a score on the first images must be one of all classes.
    mixed, _ = _cut(test[1].size, test[1].size)
    return Dataset(
        "cifar10",
        *kept,
        *held_out,
        test[0][mixed],
        test[1][mixed],
        classes=CIFAR10_CLASSES,
        provenance=provenance,
        mirror_keeps_class=True,
    )


def cut_validation(
    images: Images, labels: Labels
) -> tuple[tuple[Images, Labels], tuple[Images, Labels]]:
    """Training and validation part of training images: a tenth, at most 5,000, is validation."""
    held_out, kept = _cut(labels.size, min(_MOST_VALIDATION, labels.size // 10))
    return (images[kept], labels[kept]), (images[held_out], labels[held_out])


def _cut(count: int, first: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """A random permutation of range(count), the same at every call, cut after `first` entries."""
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    return order[:first], order[first:]


def _missing_message(root: Path) -> str:
    found = sorted(p.name for p in root.iterdir())[:8] if root.is_dir() else None
    state = "does not exist" if found is None else f"holds {found or 'nothing'}"
    return (
        f"no CIFAR-10 in {root}, which {state}; looked for {' and '.join(_PARQUET_FILES)} "
        f"(columns jpeg, label), and for {', '.join(_PICKLE_FILES)} there and in "
        f"{_PICKLE_FOLDER}/. Point data_root at the folder, or unpack cifar-10-python.tar.gz from "
        "the data set's page into it, or use the data set 'digits', which needs no files"
    )


def _pickle_folder(root: Path) -> Path | None:
    for folder in (root, root / _PICKLE_FOLDER):
        if all((folder / f).is_file() for f in _PICKLE_FILES):
            return folder
    return None


def _read_pickle(path: Path) -> tuple[Images, Labels]:
    try:
        content = _BatchUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        planes = np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(content[b"labels"], dtype=np.uint8)
    except Exception as error:
        raise ConfigError(
            f"{path} is not a batch of CIFAR-10 ({error}); unpack cifar-10-python.tar.gz again"
        ) from error
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


class _BatchUnpickler(pickle.Unpickler):
    """Unpickles numpy arrays and plain containers only: a pickle may otherwise run any code."""

    _ALLOWED = {
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("_reconstruct", "scalar")
    } | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)


def _read_parquet(path: Path) -> tuple[Images, Labels]:
    cache = _cache_file(path)
    if cache.is_file():
        try:
            with np.load(cache, allow_pickle=False) as arrays:
                return arrays["images"], arrays["labels"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            cache.unlink(missing_ok=True)  # torn by a crash: decode again
    images, labels = _decode_parquet(path)
    _write_cache(cache, images, labels)
    return images, labels


def _decode_parquet(path: Path) -> tuple[Images, Labels]:
    import pyarrow.parquet
    from PIL import Image

    try:
        table = pyarrow.parquet.read_table(path, columns=["jpeg", "label"])
        blobs = table["jpeg"].to_pylist()
        images = np.stack(
            [np.asarray(Image.open(io.BytesIO(blob)).convert("RGB")) for blob in blobs]
        )
        labels = table["label"].to_numpy().astype(np.uint8)
    except Exception as error:
        raise ConfigError(
            f"{path} is not a table of JPEG images with the columns jpeg and label ({error}); "
            "copy it again, or point data_root at another folder"
        ) from error
    if images.shape[1:] != (32, 32, 3):
        raise ConfigError(
            f"{path} holds images of shape {images.shape[1:]}, expected (32, 32, 3); "
            "point data_root at a folder with CIFAR-10"
        )
    return images, labels


def _cache_file(path: Path) -> Path:
    """Where the decoded images of this very file (by path, size and time) are kept."""
    stat = path.stat()
    key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "mcuq" / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def _write_cache(cache: Path, images: Images, labels: Labels) -> None:
    """Best effort: a home that cannot be written costs ten seconds of decoding each time."""
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache.parent, delete=False) as scratch:
            np.savez(scratch, images=images, labels=labels)
        os.replace(scratch.name, cache)
    except OSError:
        pass
