"""Which kernel is chosen: the cheapest predicted, unless measured cycles say otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import GENERIC_FAMILIES, generate, kernel_key
from mcuq_lab.liteengine.kernels.conv2d_generic import lower_conv2d_generic
from mcuq_lab.liteengine.schedule import candidates, choose
from mcuq_lab.quantgraph import QConv2d
from mcuq_lab.quantize import single_layer
from tests.support.networks import mobilenet, resnet8


@pytest.fixture
def layer():
    graph = single_layer(QConv2d, Shape(6, 6, 4), 4, Window.square(3, 1, 1))
    return graph.ops[0], graph.tensors


def family(name: str, cycles: int):
    """A family that does what the generic one does, under another name, at another price."""

    def lower(op, tensors, target):
        ways = lower_conv2d_generic(op, tensors, target)
        return tuple(replace(way, kernel=name, predicted_cycles=cycles) for way in ways)

    return lower


def test_cheapest_prediction_wins(layer):
    families = (family("dear", 300), family("cheap", 100), family("middle", 200))
    assert choose(*layer, families).kernel == "cheap"


def test_equal_predictions_keep_the_order(layer):
    assert choose(*layer, (family("first", 100), family("second", 100))).kernel == "first"


def test_no_prediction_comes_last(layer):
    assert choose(*layer, (family("unknown", 0), family("known", 10**9))).kernel == "known"


def test_measured_cycles_come_before_predictions(layer):
    families = (family("praised", 100), family("proven", 200))
    praised, proven = candidates(*layer, families)
    table = {kernel_key(*layer, praised): 500}
    assert choose(*layer, families, table).kernel == "proven"
    table[kernel_key(*layer, proven)] = 501
    assert choose(*layer, families, table).kernel == "praised"


def test_keys_tell_shapes_and_windows_apart(layer):
    op, tensors = layer
    wider = single_layer(QConv2d, Shape(6, 7, 4), 4, Window.square(3, 1, 1))
    strided = single_layer(QConv2d, Shape(6, 6, 4), 4, Window.square(3, 2, 1))
    graphs = ((op, tensors), (wider.ops[0], wider.tensors), (strided.ops[0], strided.tensors))
    keys = {kernel_key(o, t, lower_conv2d_generic(o, t)[0]) for o, t in graphs}
    assert len(keys) == 3


def test_an_edited_kernel_has_another_key(layer):
    op, tensors = layer
    (way,) = lower_conv2d_generic(op, tensors)
    files = tuple(replace(file, text=f"{file.text}\n") for file in way.files)
    keys = {kernel_key(op, tensors, replace(way, files=f)) for f in (way.files, files)}
    assert len(keys) == 2


def test_unsupported_operator_is_named(layer):
    with pytest.raises(ModelError, match=r"no kernel for Conv2d 'qconv2d|no kernel for Conv2d"):
        choose(*layer, ())


def test_measurements_reach_the_generated_code():
    graph = resnet8(4)
    families = (*GENERIC_FAMILIES, family("le_conv2d_w4a4_twin", 1))
    op, tensors = graph.ops[1], graph.tensors

    def kernel(table=None):
        layers = generate(graph, families, table).layers
        return next(layer.kernel for layer in layers if layer.name == op.name)

    assert kernel() == "le_conv2d_w4a4_twin"
    measured = {kernel_key(op, tensors, candidates(op, tensors, families)[-1]): 10**9}
    assert kernel(measured) == "le_conv2d_w4a4_generic_o4"


def test_generic_families_cover_whole_networks():
    for graph in (resnet8(None), mobilenet(None)):
        assert generate(graph, GENERIC_FAMILIES).layers


def test_numbers_beyond_their_fields_are_refused():
    graph = single_layer(QConv2d, Shape(300, 1, 1), 1, Window(1, 1, 299, 1))
    with pytest.raises(ModelError, match="strides and padding up to 255"):
        generate(graph, GENERIC_FAMILIES)
