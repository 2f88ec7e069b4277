"""The committed nets do what their JSON says; damaged or missing ones are reported."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import (
    accuracy,
    load_dataset,
    load_graph,
    load_provenance,
    load_trained,
    save_trained,
)
from mcuq_lab.models.float_executor import run_float
from mcuq_lab.models.train import command_of, parse, run
from mcuq_lab.models.trained import CHECKPOINTS, as_stored
from mcuq_lab.models.training import TrainingConfig

torch.set_num_threads(1)
COMMITTED = sorted(path.stem.split("-") for path in CHECKPOINTS.glob("*.npz"))


def test_the_promised_nets_are_there():
    assert ["resnet8", "cifar10"] in COMMITTED
    assert ["resnet8", "digits"] in COMMITTED


@pytest.mark.parametrize(("model", "data"), COMMITTED)
def test_size_and_provenance(model, data):
    path = CHECKPOINTS / f"{model}-{data}.npz"
    assert path.stat().st_size < 500_000
    provenance = load_provenance(model, data)
    assert (provenance.model, provenance.data) == (model, data)
    assert f"--model {model} --data {data}" in provenance.command
    assert "-dirty" not in provenance.git_revision
    assert "/" not in provenance.command, "no places of one machine"


@pytest.mark.parametrize(("model", "data"), [c for c in COMMITTED if c[1] == "digits"])
def test_accuracy_is_what_the_json_says(model, data):
    digits, provenance = load_dataset(data), load_provenance(model, data)
    measured = accuracy(load_trained(model, data), digits.test_images, digits.test_labels)
    assert measured == pytest.approx(provenance.test_accuracy, abs=1 / 360)
    assert measured > 0.97


@pytest.mark.parametrize(("model", "data"), COMMITTED)
def test_graph_equals_module(model, data):
    images = load_dataset("digits").test_images[:16]
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = load_trained(model, data)(x).numpy()
    found = run_float(load_graph(model, data), images)
    assert np.abs(found - expected).max() < 1e-4 * max(1.0, np.abs(expected).max())


def test_save_and_load_keep_what_was_measured(tmp_path):
    module = load_trained("resnet8", "digits")
    for parameter in module.parameters():
        parameter.data.mul_(1.001)
    rounded = as_stored(module)
    path = save_trained(rounded, load_provenance("resnet8", "digits"), tmp_path)
    again = load_trained("resnet8", "digits", tmp_path)
    for key, value in rounded.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.with_suffix(".json").name, path.name]


def test_missing_net_names_the_command(tmp_path):
    with pytest.raises(ConfigError, match=r"no trained vgg_tiny.*--model vgg_tiny --data digits"):
        load_trained("vgg_tiny", "digits", tmp_path)


def copy_to(folder):
    for suffix in (".npz", ".json"):
        shutil.copy(CHECKPOINTS / f"resnet8-digits{suffix}", folder)
    return folder / "resnet8-digits.npz"


def test_damaged_weights(tmp_path):
    path = copy_to(tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"resnet8-digits\.npz cannot be read.*git checkout"):
        load_trained("resnet8", "digits", tmp_path)


def test_damaged_provenance(tmp_path):
    path = copy_to(tmp_path).with_suffix(".json")
    path.write_text(json.dumps({"model": "resnet8"}))
    with pytest.raises(ConfigError, match=r"resnet8-digits\.json cannot be read"):
        load_trained("resnet8", "digits", tmp_path)


def test_command_trains_and_writes(tmp_path, capsys):
    words = ["--model", "squeezenet_tiny", "--epochs", "1", "--batch-size", "128", "--threads=1"]
    places = ["--checkpoint", str(tmp_path / "c.pt"), "--output", str(tmp_path / "out")]
    options = parse(words + places)
    provenance = run(options)
    assert load_provenance("squeezenet_tiny", "digits", tmp_path / "out") == provenance
    assert provenance.epochs_done == 1
    assert "test accuracy" in capsys.readouterr().out
    assert load_graph("squeezenet_tiny", "digits", tmp_path / "out").layers


def test_command_repeats_its_configuration():
    config = TrainingConfig(
        model="vgg_tiny", data="cifar10", data_root="/a place", bfloat16=True, filter_lr=0.1
    )
    words = command_of(config).split()[3:]
    assert "/a" not in words
    options = parse(words)
    again = {f.name: getattr(options, f.name) for f in dataclasses.fields(TrainingConfig)}
    assert TrainingConfig(**again | {"data_root": "/a place"}) == config
