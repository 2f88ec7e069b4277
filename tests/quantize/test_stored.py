"""Stored quantized nets: exact to the bit, honest about what they are, damaged ones reported."""

import dataclasses
import functools
import json

import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import (
    Origin,
    QuantizedProvenance,
    calibrate,
    evaluate,
    find_quantized,
    initial_state,
    load_quantized,
    load_quantized_provenance,
    quantize,
    save_quantized,
    stored_mixed,
    to_integers,
)
from mcuq_lab.quantize.stored import CHECKPOINTS, stored_path
from tests.quantize.graphs import images, residual_graph

GRAPH = residual_graph()
TABLES = calibrate(GRAPH, images(64))
MIXED = "w2a3,w8a4,w5a8,w3a2,w4a4,w7a6,w6a5"


def store(policy, folder):
    """A network at `policy`, as stored in `folder`; returns what was stored."""
    state = initial_state(GRAPH, policy, TABLES)
    network = to_integers(GRAPH, state)
    provenance = QuantizedProvenance(
        model=GRAPH.name,
        data="noise",
        policy=str(policy),
        command="none",
        config={},
        git_revision="unknown",
        torch_version="",
        digest=network.digest,
        test_accuracy=0.5,
        test_images=2,
        validation_accuracy=0.5,
        validation_images=2,
        float_test_accuracy=0.5,
        data_note="",
        seconds=0.0,
    )
    return network, provenance, save_quantized(state, provenance, folder)


@pytest.mark.parametrize("text", ["w2a2", "w3a8", "w8a8", MIXED])
def test_what_is_stored_comes_back_to_the_bit(text, tmp_path):
    policy = Policy.parse(text, len(GRAPH.layers))
    network, provenance, path = store(policy, tmp_path)
    assert load_quantized(GRAPH, "noise", policy, tmp_path).digest == network.digest
    assert load_quantized_provenance(GRAPH.name, "noise", policy, tmp_path) == provenance
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.with_suffix(".json").name, path.name]


def test_a_lookup_prefers_the_stored_net_and_says_so(tmp_path):
    stored, other = (Policy.uniform(len(GRAPH.layers), bits, bits) for bits in (2, 3))
    network, provenance, _ = store(stored, tmp_path)
    found = find_quantized(GRAPH, "noise", stored, TABLES, tmp_path)
    assert found.graph.digest == network.digest
    assert found.origin is Origin.QUANTIZATION_AWARE
    assert found.test_accuracy == provenance.test_accuracy
    for data, policy in (("noise", other), ("other", stored)):
        found = find_quantized(GRAPH, data, policy, TABLES, tmp_path)
        assert found.graph.digest == quantize(GRAPH, policy, TABLES).digest
        assert found.origin is Origin.POST_TRAINING
        assert found.test_accuracy is None


def test_mixed_policies_are_listed_and_uniform_ones_are_not(tmp_path):
    assert stored_mixed(GRAPH.name, "noise", tmp_path) == ()
    for text in ("w4a4", MIXED):
        store(Policy.parse(text, len(GRAPH.layers)), tmp_path)
    assert stored_mixed(GRAPH.name, "noise", tmp_path) == (MIXED,)
    assert stored_mixed(GRAPH.name, "other", tmp_path) == ()


def test_a_missing_net_names_the_command(tmp_path):
    policy = Policy.uniform(len(GRAPH.layers), 4, 4)
    with pytest.raises(
        ConfigError, match=r"no trained residual.*mcuq qat --model residual .* w4a4"
    ):
        load_quantized(GRAPH, "noise", policy, tmp_path)


def test_damage_is_reported(tmp_path):
    policy = Policy.uniform(len(GRAPH.layers), 4, 4)
    _, provenance, path = store(policy, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(ConfigError, match=r"w4a4\.npz cannot be read.*git checkout"):
        load_quantized(GRAPH, "noise", policy, tmp_path)
    path.write_bytes(whole)
    changed = dataclasses.asdict(provenance) | {"digest": "0"}
    path.with_suffix(".json").write_text(json.dumps(changed))
    with pytest.raises(ConfigError, match="not give the integers"):
        load_quantized(GRAPH, "noise", policy, tmp_path)
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(ConfigError, match=r"w4a4\.json cannot be read"):
        find_quantized(GRAPH, "noise", policy, TABLES, tmp_path)


def test_a_net_of_another_shape_is_refused(tmp_path):
    policy = Policy.uniform(len(GRAPH.layers), 4, 4)
    store(policy, tmp_path)
    *others, last = GRAPH.nodes
    narrow = dataclasses.replace(last, weight=last.weight[:3], bias=last.bias[:3])
    other = dataclasses.replace(GRAPH, nodes=(*others, narrow))
    with pytest.raises(ConfigError, match="expected"):
        load_quantized(other, "noise", policy, tmp_path)


def recorded(path):
    """Model, data set and policy of a stored net's JSON."""
    provenance = json.loads(path.read_text())
    return tuple(provenance[key] for key in ("model", "data", "policy"))


COMMITTED = sorted(map(recorded, CHECKPOINTS.glob("*.json")))


@functools.cache
def float_graph(model, data):
    return find_network(model, data).graph


@functools.cache
def pictures(data):
    """Some test images and their labels; None where the data set is not on this computer."""
    try:
        dataset = find_dataset(data)
    except ConfigError:
        return None
    return dataset.test_images[:500], dataset.test_labels[:500]


@pytest.mark.parametrize(("model", "data", "policy"), COMMITTED)
def test_a_committed_net_is_small_and_says_where_it_comes_from(model, data, policy):
    graph = float_graph(model, data)
    chosen = Policy.parse(policy, len(graph.layers))
    # Loading compares the integers with those on record.
    network = load_quantized(graph, data, chosen)
    assert str(network.policy) == policy
    provenance = load_quantized_provenance(model, data, chosen)
    assert f"--model {model} --data {data} --policy {policy}" in provenance.command
    assert "-dirty" not in provenance.git_revision
    widths = [layer.w_bits for layer in chosen.layers]
    packed_bytes = sum(
        layer.parameter_count * w_bits / 8
        for layer, w_bits in zip(graph.layers, widths, strict=True)
    )
    size_bytes = stored_path(model, data, chosen).stat().st_size
    # Compression does what packing would; scales, biases and names come on top.
    assert size_bytes < 1.15 * packed_bytes + 40_000


@pytest.mark.parametrize(("model", "data", "policy"), COMMITTED)
def test_a_committed_net_reaches_its_accuracy(model, data, policy):
    if pictures(data) is None:
        pytest.skip(f"{data} is not on this computer")
    graph = float_graph(model, data)
    chosen = Policy.parse(policy, len(graph.layers))
    images, labels = pictures(data)
    measured = evaluate(load_quantized(graph, data, chosen), images, labels)
    recorded = load_quantized_provenance(model, data, chosen).test_accuracy
    # Four standard deviations of a sample of this size.
    assert abs(measured - recorded) < 4 * (recorded * (1 - recorded) / len(images)) ** 0.5
