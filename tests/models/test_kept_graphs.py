"""A kept graph is the one that importing gives, or it is imported again."""

import os
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.models import ZOO, build_model, find_network, import_module, load_trained, trained
from mcuq_lab.models.kept_graphs import graph_key, keep_graph, kept_graph
from mcuq_lab.models.trained import CHECKPOINTS, trained_graph

COMMITTED = sorted(path.stem.split("-") for path in CHECKPOINTS.glob("*.npz"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Each test has a cache of its own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture
def imports(monkeypatch):
    """The nets that were imported, in order."""
    names, true = [], trained._imported

    def imported(model, *rest):
        names.append(model)
        return true(model, *rest)

    monkeypatch.setattr(trained, "_imported", imported)
    return names


def kept_files(cache):
    return [path for path in cache.rglob("*") if path.is_file()]


def assert_same(found: Graph, expected: Graph) -> None:
    """Every value of every node, its type and an array's strides included."""
    assert found.digest == expected.digest
    assert [type(node) for node in found.nodes] == [type(node) for node in expected.nodes]
    for a, b in zip(found.nodes, expected.nodes, strict=True):
        for field in fields(a):
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert type(x) is type(y), field.name
            if isinstance(x, np.ndarray):
                assert (x.dtype, x.shape, x.strides) == (y.dtype, y.shape, y.strides)
                assert x.flags.writeable == y.flags.writeable
                assert x.tobytes() == y.tobytes()
            else:
                assert x == y, field.name
    assert found.shapes == expected.shapes


@pytest.mark.parametrize(("model", "data"), COMMITTED)
def test_found_is_what_the_import_gives(model, data, imports):
    expected = import_module(load_trained(model, data), name=model)
    for _ in range(2):
        assert_same(find_network(model, data).graph, expected)
    assert imports == [model]


@pytest.mark.parametrize("model", ZOO)
def test_every_net_of_the_zoo_can_be_kept(model):
    graph = import_module(build_model(model), name=model)
    keep_graph(graph, "0" * 64)
    assert_same(kept_graph("0" * 64), graph)


@pytest.mark.parametrize(
    "damage",
    [lambda b: b[:5000], lambda b: b"", lambda b: b[:9000] + bytes([b[9000] ^ 1]) + b[9001:]],
    ids=["torn", "empty", "one bit"],
)
def test_a_damaged_file_is_made_again(damage, cache, imports):
    whole = trained_graph("resnet8", "digits")
    (path,) = kept_files(cache)
    content = path.read_bytes()
    path.write_bytes(damage(content))
    assert trained_graph("resnet8", "digits").digest == whole.digest
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_graph_of_other_values_than_its_digest_is_refused(cache):
    keep_graph(import_module(build_model("resnet8")), "0" * 64)
    (path,) = kept_files(cache)
    with np.load(path) as arrays:
        changed = dict(arrays)
    changed["array0"] = changed["array0"] + 1
    with path.open("wb") as file:
        np.savez(file, **changed)
    assert kept_graph("0" * 64) is None


def test_other_weights_are_imported_of_their_own(tmp_path, imports):
    (weights,) = CHECKPOINTS.glob("resnet8-digits.npz")
    assert graph_key("resnet8", weights.read_bytes()) != graph_key("resnet8", b"")
    for suffix in (".npz", ".json"):
        content = weights.with_suffix(suffix).read_bytes()
        (tmp_path / f"resnet8-digits{suffix}").write_bytes(content)
    trained_graph("resnet8", "digits")
    assert trained_graph("resnet8", "digits", tmp_path).name == "resnet8"
    assert imports == ["resnet8"]
    (tmp_path / "resnet8-digits.npz").write_bytes(content[:5000])
    with pytest.raises(ConfigError, match="cannot be read"):
        trained_graph("resnet8", "digits", tmp_path)
    with pytest.raises(ConfigError, match="no trained resnet8 for cifar10"):
        trained_graph("resnet8", "cifar10", tmp_path)


def test_a_cache_that_cannot_be_written_costs_time_only(cache, imports):
    cache.write_text("a file where the folder would be")
    for _ in range(2):
        assert trained_graph("resnet8", "digits").name == "resnet8"
    assert imports == ["resnet8"] * 2


def test_the_folder_does_not_grow_without_end(cache, monkeypatch):
    monkeypatch.setattr("mcuq_lab.models.kept_graphs._LIMIT_BYTES", 1)
    monkeypatch.setattr("mcuq_lab.content_cache._PUTS_BETWEEN_SWEEPS", 1)
    graph = import_module(build_model("resnet8"))
    for i in range(3):
        keep_graph(graph, f"{i:064x}")
        for path in kept_files(cache):
            os.utime(path, (0, 0))  # nobody has used it for long
    keep_graph(graph, "f" * 64)
    assert [path.name for path in kept_files(cache)] == ["f" * 64]


def test_a_kept_network_and_the_digits_load_neither_torch_nor_sklearn():
    find_network("resnet8", "digits")
    program = """
import sys
from mcuq_lab.models import find_dataset, find_network
find_network("resnet8", find_dataset("digits").name)
loaded = {"torch", "sklearn", "scipy"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_public_name_can_be_had():
    import mcuq_lab.models

    for name in mcuq_lab.models.__all__:
        assert getattr(mcuq_lab.models, name) is not None, name
