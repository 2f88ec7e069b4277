"""Networks and data sets by the names that a user types."""

import pytest

from mcuq_lab.errors import ConfigError, ModelError
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.models.lookup import UNTRAINED
from mcuq_lab.settings import Settings


def test_a_trained_network_says_its_accuracy():
    network = find_network("resnet8", "digits")
    assert network.test_accuracy > 0.9
    assert network.graph.name == "resnet8"


def test_a_network_without_training_says_so_and_repeats():
    first, again = (find_network("squeezenet_tiny", "digits") for _ in range(2))
    assert first.test_accuracy is None
    assert first.note == UNTRAINED
    assert first.graph.digest == again.graph.digest


def test_unknown_model_lists_the_zoo():
    with pytest.raises(ModelError, match="resnet8"):
        find_network("alexnet", "digits")


def test_data_by_name_by_folder_and_by_settings(tmp_path):
    assert find_dataset("digits").name == "digits"
    for text, settings in (
        (str(tmp_path), Settings()),
        ("cifar10", Settings({"cifar10": tmp_path})),
    ):
        with pytest.raises(ConfigError, match=str(tmp_path)):
            find_dataset(text, settings)
    with pytest.raises(ConfigError, match="digits, cifar10"):
        find_dataset("imagenet", Settings())
