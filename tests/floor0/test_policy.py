"""Policies: parsing, printing, and what is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import LayerBits, Policy, policy_label

bits = st.integers(2, 8)


@given(st.lists(st.tuples(bits, bits), min_size=1, max_size=30))
def test_text_reads_back(pairs):
    policy = Policy.of(pairs)
    assert Policy.parse(str(policy), len(pairs)) == policy


def test_uniform_spreads_over_all_layers():
    assert Policy.parse("w3a5", 4).pairs == ((3, 5),) * 4
    assert str(Policy.uniform(4, 3, 5)) == "w3a5"


@pytest.mark.parametrize("content", [[[4, 8], [2, 2]], {"policy": [[4, 8], [2, 2]]}])
def test_json_file(tmp_path, content):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(content))
    assert Policy.parse(str(path), 2).pairs == ((4, 8), (2, 2))


@pytest.mark.parametrize("text", ["", "w4", "w9a4", "a4w4", "w1a2", "w4a4;w2a2", "nowhere.json"])
def test_bad_text_is_refused(text):
    with pytest.raises(ConfigError):
        Policy.parse(text, 1)


def test_wrong_number_of_layers_says_both_numbers():
    with pytest.raises(ConfigError, match="names 2 layers, the network has 3"):
        Policy.parse("w4a4,w2a2", 3)


def test_widths_out_of_range():
    with pytest.raises(ConfigError, match="out of range"):
        LayerBits(1, 8)


def test_a_label_is_short_and_tells_uniform_from_mixed():
    assert policy_label("w4a8") == "w4a8"
    assert policy_label("w2a8,w4a4,w8a2,w2a8") == "mixed w4.0a5.5"
    with pytest.raises(ConfigError, match="bit-width pair"):
        policy_label("w4a4,float")
