"""`mcuq qat`: from a command line to a stored network that the other commands find."""

import json
import shlex

import pytest
from typer.testing import CliRunner

from mcuq_lab.cli.main import app
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import QatConfig, evaluate, load_quantized, load_quantized_provenance
from mcuq_lab.quantize.train import command_of

GRAPH = find_network("resnet8", "digits").graph
POLICY = Policy.uniform(len(GRAPH.layers), 4, 4)
SHORT = ("--model", "resnet8", "--data", "digits", "--images", "128", "--batch-size", "32")


def run(*words):
    return CliRunner().invoke(app, ["qat", *words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qat")
    places = ("--output", str(folder / "out"), "--checkpoint", str(folder / "qat.pt"))
    result = run(*SHORT, "--policy", "w4a4", "--epochs", "2", "--json", *places)
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_what_is_on_record_is_what_the_stored_integers_reach(trained):
    folder, document = trained
    digits = find_dataset("digits")
    network = load_quantized(GRAPH, "digits", POLICY, folder / "out")
    assert network.digest == document["digest"]
    measured = evaluate(network, digits.test_images, digits.test_labels)
    assert measured == document["test_accuracy"] > 0.95
    assert document["test_images"] == len(digits.test_labels)


def test_the_record_names_the_command_that_repeats_it(trained):
    folder, document = trained
    words = shlex.split(document["command"])
    assert words[:2] == ["mcuq", "qat"]
    places = ("--output", str(folder / "again"), "--checkpoint", str(folder / "again.pt"))
    result = run(*words[2:], *places)
    assert result.exit_code == 0, result.output
    again = load_quantized_provenance("resnet8", "digits", POLICY, folder / "again")
    assert again.digest == document["digest"]


def test_every_option_reaches_the_command():
    config = QatConfig(3, 128, 16, 0.5, 0.25, False, 1, True, 9)
    words = command_of("resnet8", "digits", POLICY, config).split()
    assert words[2:] == [
        *("--model", "resnet8", "--data", "digits", "--policy", "w4a4", "--epochs", "3"),
        *("--images", "128", "--batch-size", "16", "--weight-lr", "0.5", "--step-lr", "0.25"),
        *("--no-augment", "--crop-margin-px", "1", "--seed", "9"),
    ]


def test_a_model_without_float_training_is_refused(tmp_path):
    result = run("--model", "vgg_tiny", "--output", str(tmp_path), "--checkpoint", "x.pt")
    assert result.exit_code == 2
    assert "mcuq_lab.models.train --model vgg_tiny" in result.output
