"""A user's own network and data set, as files in place of names."""

import numpy as np
import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import (
    dataset_name,
    find_dataset,
    find_network,
    import_module,
    located_dataset,
    located_network,
    network_name,
    save_dataset,
    save_network,
)
from tests.support.modules import small_module


def parts(shape=(6, 9, 1), n_train=40, n_test=10) -> dict:
    rng = np.random.default_rng(3)
    return {
        "train_images": rng.integers(256, size=(n_train, *shape), dtype=np.uint8),
        "train_labels": np.arange(n_train) % 3,
        "test_images": rng.integers(256, size=(n_test, *shape), dtype=np.uint8),
        "test_labels": np.arange(n_test) % 3,
    }


def test_a_saved_network_is_found_under_its_files_name(tmp_path):
    graph = import_module(small_module(4), (1, 6, 9), input_range=(-1.0, 1.0))
    path = save_network(tmp_path / "hand_signs.npz", graph, test_accuracy=0.75, note="of a test")
    found = find_network(str(path), "anything")
    assert (found.graph.name, found.test_accuracy, found.note) == ("hand_signs", 0.75, "of a test")
    assert (found.graph.input.low, found.graph.input.high) == (-1.0, 1.0)
    assert network_name(str(path)) == "hand_signs"
    again = save_network(tmp_path / "again" / "hand_signs.npz", found.graph, test_accuracy=0.75)
    assert find_network(str(again), "").graph.digest == found.graph.digest


def test_a_saved_data_set_is_found_with_its_own_validation_part(tmp_path):
    given = parts()
    path = save_dataset(tmp_path / "hands.npz", **given, classes=("a", "b", "c"))
    data = find_dataset(str(path))
    assert (data.name, data.classes, data.mirror_keeps_class) == ("hands", ("a", "b", "c"), False)
    assert data.train_images.shape == (36, 6, 9, 1)
    assert len(data.validation_labels) == 4
    assert np.array_equal(data.test_images, given["test_images"])
    together = np.concatenate([data.train_images, data.validation_images])
    assert sorted(map(bytes, together)) == sorted(map(bytes, given["train_images"]))
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.validation_images, data.validation_labels),
    ):
        for image, label in zip(images, labels, strict=True):
            at = (given["train_images"] == image).all(axis=(1, 2, 3)).argmax()
            assert given["train_labels"][at] == label


def test_images_of_one_channel_may_lack_it(tmp_path):
    given = parts()
    given = {key: value[..., 0] if "images" in key else value for key, value in given.items()}
    assert find_dataset(str(save_dataset(tmp_path / "grey.npz", **given))).train_images.ndim == 4


def test_files_and_folders_are_located_and_names_left_as_they_are(tmp_path, monkeypatch):
    for folder in ("cifar", "digits", "resnet8"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    assert located_network("net.npz") == located_dataset("net.npz") == str(tmp_path / "net.npz")
    assert located_dataset("cifar") == str(tmp_path / "cifar")
    assert (dataset_name("cifar"), dataset_name("a/b.npz")) == ("cifar10", "b")
    # Built-in names are names, whatever folders there are.
    assert located_dataset("digits") == dataset_name("digits") == "digits"
    assert located_network("resnet8") == network_name("resnet8") == "resnet8"
    assert find_dataset("digits").name == "digits"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((40, 6, 9, 1))}, "uint8 pixels"),
        ({"train_labels": np.zeros(39, int)}, "one whole number for each of 40"),
        ({"train_labels": np.zeros(40)}, "one whole number"),
        ({"test_labels": np.full(10, -1)}, "from 0 on"),
        ({"test_labels": np.full(10, 256)}, "at most 256"),
        ({"test_images": np.zeros((10, 6, 6, 1), np.uint8)}, "one height, width"),
        ({"classes": ("only",)}, "labels up to 2 and 1 names"),
        (parts(n_train=9), "give 10 or more"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        save_dataset(tmp_path / "hands.npz", **(parts() | change))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["hand-signs.npz", "2hands.npz", "hands.bin", "hand signs.npz"])
def test_names_that_cannot_stand_in_a_file_name(name, tmp_path):
    with pytest.raises(ConfigError, match="letters, digits and underscores"):
        save_dataset(tmp_path / name, **parts())


def test_built_in_names_are_taken(tmp_path):
    graph = import_module(small_module(4), (1, 6, 9))
    with pytest.raises(ConfigError, match="built-in network"):
        save_network(tmp_path / "resnet8.npz", graph, test_accuracy=0.5)
    with pytest.raises(ConfigError, match="built-in data set"):
        save_dataset(tmp_path / "digits.npz", **parts())


def test_an_accuracy_in_percent_is_none(tmp_path):
    graph = import_module(small_module(4), (1, 6, 9))
    with pytest.raises(ConfigError, match="a fraction of 1"):
        save_network(tmp_path / "net.npz", graph, test_accuracy=93.0)


def test_missing_foreign_and_damaged_files(tmp_path):
    with pytest.raises(ConfigError, match="no file"):
        find_network(str(tmp_path / "nowhere.npz"), "digits")
    data = save_dataset(tmp_path / "hands.npz", **parts())
    with pytest.raises(ConfigError, match="network is not a file"):
        find_network(str(data), "digits")
    graph = import_module(small_module(4), (1, 6, 9))
    net = save_network(tmp_path / "net.npz", graph, test_accuracy=0.5)
    with pytest.raises(ConfigError, match="dataset is not a file"):
        find_dataset(str(net))
    whole = net.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no archive"):
        net.write_bytes(damaged)
        with pytest.raises(ConfigError, match="or damaged"):
            find_network(str(net), "digits")


def test_changed_weights_are_noticed(tmp_path):
    graph = import_module(small_module(4), (1, 6, 9))
    net = save_network(tmp_path / "net.npz", graph, test_accuracy=0.5)
    with np.load(net) as found:
        arrays = dict(found)
    key = next(key for key in arrays if key.startswith("array"))
    arrays[key] = arrays[key] + np.float32(1.0)
    np.savez(net, **arrays)
    with pytest.raises(ConfigError, match="digest"):
        find_network(str(net), "digits")
