"""Notes of rows say which layers of this very network an engine runs in another form."""

import pytest

from mcuq_lab.baselines import cmix_nn, cmsis_nn, tinyengine
from mcuq_lab.baselines.nearest_forms import signed_inputs
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import QConv2d, QFullyConnected
from mcuq_lab.quantize import single_layer
from tests.support.networks import mobilenet, resnet8

ADDITIONS = "add1, add2, add3"


@pytest.mark.parametrize(
    ("generate", "addition", "pool"),
    [
        (cmix_nn.generate, "as a plain loop", "as a plain loop"),
        (tinyengine.generate, "in float32", "as a plain loop"),
    ],
)
def test_a_residual_network(generate, addition, pool):
    note = generate(resnet8()).note
    assert "; fc as a 1x1 convolution; " in note
    assert f"{ADDITIONS} {addition}" in note
    assert f"; pool {pool}" in note
    assert "Concat" not in note


def test_fully_connected_layers_with_weights_of_4_bits():
    notes = [
        cmsis_nn.generate(single_layer(QFullyConnected, Shape(1, 1, 8), 4, w_bits=w_bits)).note
        for w_bits in (8, 4)
    ]
    said = ["with a scale for each output" in note for note in notes]
    assert said == [False, True]


def test_layers_that_are_absent_are_not_named():
    note = cmix_nn.generate(mobilenet(blocks=2)).note
    assert "add" not in note.split("; ", 1)[1]
    assert "fc as a 1x1 convolution" in note
    assert "stem (channels not divisible by 4) with columns filled up to whole words" in note
    assert "signed" not in note


def test_signed_activations_are_named():
    network = single_layer(QConv2d, Shape(4, 4, 4), 4, Window.square(3, 1, 1), zero_point=3)
    (op,) = network.ops
    assert signed_inputs(network, "with a zero point") == (
        f"{op.name} (signed activations) with a zero point"
    )
    assert f"{op.name} (signed activations)" in cmix_nn.generate(network).note
