"""Random layers: what is drawn, and that none of a sample is slower than the baseline."""

from __future__ import annotations

import pytest

from mcuq_lab.bench import open_board
from mcuq_lab.benchmark import POLICIES
from mcuq_lab.board import DEFAULT_BOARD, load_board
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.layer_sweep import MAX_MACS, random_layers, sweep
from mcuq_lab.policy import LayerBits
from tests.support.simulated_core import has_toolchain


def test_layers_are_drawn_by_seed_and_within_bounds():
    names = random_layers(40)
    assert names == random_layers(40)
    assert names != random_layers(40, seed=1)
    assert names[:10] == random_layers(10)
    assert len(set(names)) == 40
    for name in names:
        graph = layer_network(name, LayerBits(8, 8))
        assert graph.macs(graph.ops[0]) <= MAX_MACS
    kinds = {graph.ops[0].op for graph in (layer_network(n, LayerBits(8, 8)) for n in names)}
    assert kinds == {"Conv2d", "DepthwiseConv2d", "FullyConnected"}


@pytest.fixture(scope="module")
def session():
    with open_board(load_board(DEFAULT_BOARD), simulated=True) as opened:
        yield opened


SAMPLE = ("c3_10x12_9", "c3s2_12x9_17", "c1_8x40_24", "dw_12x24", "dw3s2_13x20", "c5_9x16_20")


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("layer", SAMPLE)
def test_no_layer_is_slower_than_the_baseline(session, layer):
    rows = list(sweep(session, (layer,), ("w8a8", "w4a4", "w2a2"), done={(layer, "w2a2")}))
    assert [row.policy for row in rows] == ["w8a8", "w4a4"]
    for row in rows:
        assert row.bit_exact
        assert row.ratio_cmsis_nn >= 1, row


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(10))
def test_no_random_layer_is_slower_than_the_baseline(session, part):
    rows = list(sweep(session, random_layers(300)[part::10], POLICIES))
    assert all(row.bit_exact for row in rows)
    slow = [
        f"{row.layer} {row.policy} {row.ratio_cmsis_nn:.2f}"
        for row in rows
        if row.ratio_cmsis_nn < 1
    ]
    assert not slow
