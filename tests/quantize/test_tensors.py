"""Which tensors share a quantization, and how wide a policy makes them."""

import pytest

from mcuq_lab.errors import ConfigError, ModelError
from mcuq_lab.graph import Add, Concat, GlobalAveragePool, Graph, Input, Shape
from mcuq_lab.policy import Policy
from mcuq_lab.quantize.tensors import group_bits, group_of_tensor, tensor_groups
from tests.quantize.graphs import NONE, RELU, Maker, bottleneck_graph, fire_graph, residual_graph


def test_pools_and_concatenations_join_groups():
    groups = group_of_tensor(tensor_groups(fire_graph()))
    assert groups["left"].members == ("left", "right", "joined", "pool2")
    assert groups["left"].computed == ("left", "right")
    assert groups["stem"].members == ("stem", "pool1")
    assert groups["mean"].members == ("mean",)


def test_signs_follow_activations_and_operators():
    groups = group_of_tensor(tensor_groups(residual_graph()))
    signs = {name: group.non_negative for name, group in groups.items()}
    assert signs["input"]
    assert signs["stem"]
    assert signs["a"]
    assert signs["pool"]
    assert not signs["a2"]
    assert not signs["fc"]
    groups = group_of_tensor(tensor_groups(bottleneck_graph()))
    assert not groups["sum"].non_negative
    assert groups["mean"].non_negative
    assert not group_of_tensor(tensor_groups(fire_graph()))["input"].non_negative


def test_relu6_limits_its_group():
    groups = group_of_tensor(tensor_groups(bottleneck_graph()))
    assert groups["expand"].limit == 6.0
    assert groups["stem"].limit is None


def test_a_tensor_is_as_wide_as_its_most_demanding_reader():
    #                  stem    a1      a2      b1      b2      cut     fc
    policy = Policy.of([(8, 8), (8, 2), (8, 3), (8, 4), (8, 5), (8, 6), (8, 7)])
    bits = group_bits(residual_graph(), policy)
    assert bits["input"] == 8
    assert bits["stem"] == 2  # read by a1 (2 bits) and by an addition, which asks for nothing
    assert bits["a1"] == 3
    assert bits["a"] == 6  # b1 asks for 4, the shortcut for 6
    assert bits["a2"] == 6  # only added: the sum's width
    assert bits["shortcut"] == 7  # only added; the sum is only averaged; fc reads the mean
    assert bits["b"] == 7
    assert bits["fc"] == 8


def test_a_policy_of_another_length_is_refused():
    with pytest.raises(ConfigError, match="7"):
        group_bits(residual_graph(), Policy.uniform(6, 4, 4))


def branches(first, second) -> Graph:
    make = Maker()
    return Graph(
        "branches",
        (
            Input("input", (), Shape(4, 4, 3)),
            make.conv("a", "input", 3, 2, activation=first),
            make.conv("b", "input", 3, 2, activation=second),
            Concat("joined", ("a", "b")),
            GlobalAveragePool("mean", ("joined",)),
        ),
    )


def test_relu_joined_with_signed_values_is_refused():
    with pytest.raises(ModelError, match=r"'a'.*'b'"):
        tensor_groups(branches(RELU, NONE))
    assert not group_of_tensor(tensor_groups(branches(NONE, NONE)))["a"].non_negative


def test_a_group_that_feeds_itself_has_a_width():
    make = Maker()
    graph = Graph(
        "loop",
        (
            Input("input", (), Shape(4, 4, 3)),
            make.conv("a", "input", 3, 2, activation=NONE),
            make.conv("b", "input", 3, 2, activation=NONE),
            Add("sum", ("a", "b")),
            Concat("joined", ("a", "sum")),
            GlobalAveragePool("mean", ("joined",)),
        ),
    )
    assert group_bits(graph, Policy.uniform(2, 4, 4))["b"] == 8
