"""Data sets: splits that never overlap, both layouts of CIFAR-10, and errors that help."""

import io
import pickle

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import data, load_dataset
from mcuq_lab.models.data import SPLIT_SEED


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Each test has a cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def flat_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of one colour each, which survive JPEG, and labels."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (count, 1, 1, 3))
    images = np.broadcast_to(colours, (count, 32, 32, 3)).astype(np.uint8)
    return images, rng.integers(0, 10, count)


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def write_parquet(folder, counts=(200, 40)):
    for seed, (name, count) in enumerate(zip(("train", "test"), counts, strict=True)):
        images, labels = flat_images(count, seed)
        table = pyarrow.table({"jpeg": [jpeg(i) for i in images], "label": labels.astype(np.uint8)})
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet")


def write_batches(folder, count=40):
    folder.mkdir()
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for seed, name in enumerate(names):
        images, labels = flat_images(count, seed)
        planes = images.transpose(0, 3, 1, 2).reshape(count, -1)
        content = {b"data": np.ascontiguousarray(planes), b"labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def parts(dataset):
    return (
        (dataset.train_images, dataset.train_labels),
        (dataset.validation_images, dataset.validation_labels),
        (dataset.test_images, dataset.test_labels),
    )


def test_digits_need_no_files():
    digits = load_dataset("digits")
    assert [len(labels) for _, labels in parts(digits)] == [1197, 240, 360]
    for images, labels in parts(digits):
        assert images.dtype == labels.dtype == np.uint8
        assert images.shape == (len(labels), 32, 32, 3)
        assert set(labels) == set(range(10))
        assert (images.min(), images.max()) == (0, 255)
    assert len(digits.classes) == 10
    assert not digits.mirror_keeps_class


def test_digits_are_those_of_sklearn(monkeypatch):
    """Read from its file, or by its function where the file is not found: the same bytes."""
    expected = load_digits()
    from_file = data._digits_of_sklearn()
    monkeypatch.setattr(data.importlib.util, "find_spec", lambda name: None)
    by_function = data._digits_of_sklearn()
    for images, labels in (from_file, by_function):
        assert (images.dtype, labels.dtype) == (expected.images.dtype, np.uint8)
        assert np.array_equal(images, expected.images)
        assert np.array_equal(labels, expected.target)


def test_split_is_fixed_and_disjoint():
    first, second = load_dataset("digits"), load_dataset("digits")
    for (a, _), (b, _) in zip(parts(first), parts(second), strict=True):
        assert np.array_equal(a, b)
    # All digits differ, so that an image in two parts would be missing here.
    everything = np.concatenate([images for images, _ in parts(first)]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797


def mixed(images, labels):
    """In the order of the test part: no file's own."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    return images[order], labels[order]


def test_parquet(tmp_path):
    write_parquet(tmp_path)
    cifar = load_dataset("cifar10", tmp_path)
    assert [len(labels) for _, labels in parts(cifar)] == [180, 20, 40]
    expected, labels = mixed(*flat_images(40, 1))
    assert np.abs(cifar.test_images.astype(int) - expected).max() <= 4
    assert np.array_equal(cifar.test_labels, labels)
    assert "JPEG" in cifar.provenance
    assert cifar.classes[0] == "airplane"
    # Each image keeps its label through the split.
    trained, train_labels = flat_images(200, 0)
    label_of = {
        tuple(i[0, 0].tolist()): label for i, label in zip(trained, train_labels, strict=True)
    }
    colours = np.array(list(label_of))
    for image, label in zip(cifar.validation_images, cifar.validation_labels, strict=True):
        nearest = colours[np.abs(colours - image[0, 0].astype(int)).sum(1).argmin()]
        assert label_of[tuple(nearest.tolist())] == label


def test_parquet_cache_gives_the_same_and_survives_damage(tmp_path, cache):
    write_parquet(tmp_path)
    first = load_dataset("cifar10", tmp_path)
    files = list(cache.rglob("*.npz"))
    assert len(files) == 2
    again = load_dataset("cifar10", tmp_path)
    assert np.array_equal(first.train_images, again.train_images)
    for file in files:
        file.write_bytes(file.read_bytes()[:1000])
    repaired = load_dataset("cifar10", tmp_path)
    assert np.array_equal(first.train_images, repaired.train_images)


def test_the_first_test_images_are_of_all_classes_though_the_file_is_sorted(tmp_path):
    images, labels = flat_images(200, 1)
    by_class = np.argsort(labels, kind="stable")
    write_parquet(tmp_path)
    table = pyarrow.table(
        {"jpeg": [jpeg(i) for i in images[by_class]], "label": labels[by_class].astype(np.uint8)}
    )
    pyarrow.parquet.write_table(table, tmp_path / "test.parquet")
    assert len(set(load_dataset("cifar10", tmp_path).test_labels[:60])) == 10


def test_changed_parquet_is_read_anew(tmp_path):
    write_parquet(tmp_path)
    load_dataset("cifar10", tmp_path)
    write_parquet(tmp_path, counts=(100, 30))
    assert len(load_dataset("cifar10", tmp_path).test_labels) == 30


@pytest.mark.parametrize("inside", [True, False])
def test_original_batches(tmp_path, inside):
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder)
    cifar = load_dataset("cifar10", tmp_path if inside else folder)
    assert [len(labels) for _, labels in parts(cifar)] == [180, 20, 40]
    images, labels = mixed(*flat_images(40, 5))
    assert np.array_equal(cifar.test_images, images)
    assert np.array_equal(cifar.test_labels, labels)
    assert "original" in cifar.provenance


def test_pickle_may_not_run_code(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder)

    class Evil:
        def __reduce__(self):
            import os

            return os.mkdir, (str(tmp_path / "harm"),)

    (folder / "test_batch").write_bytes(pickle.dumps({b"data": Evil(), b"labels": []}))
    with pytest.raises(ConfigError, match="test_batch"):
        load_dataset("cifar10", tmp_path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda root: None, ["holds nothing", "train.parquet", "data_batch_1", "digits"]),
        (lambda root: root.rmdir(), ["does not exist", "train.parquet"]),
        (lambda root: (root / "notes.txt").write_text("x"), ["notes.txt", "Point data_root"]),
    ],
)
def test_missing_files_are_named(tmp_path, prepare, words):
    root = tmp_path / "data"
    root.mkdir()
    prepare(root)
    with pytest.raises(ConfigError) as caught:
        load_dataset("cifar10", root)
    for word in [*words, str(root)]:
        assert word in str(caught.value)


def test_damaged_parquet(tmp_path):
    write_parquet(tmp_path)
    (tmp_path / "test.parquet").write_bytes(b"not parquet")
    with pytest.raises(ConfigError, match=r"test\.parquet.*jpeg and label"):
        load_dataset("cifar10", tmp_path)


def test_cifar10_without_root_and_unknown_name():
    with pytest.raises(ConfigError, match="data_root"):
        load_dataset("cifar10")
    with pytest.raises(ConfigError, match=r"'mnist'.*digits, cifar10"):
        load_dataset("mnist")
