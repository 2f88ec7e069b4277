"""Tuning: every way is measured once, and the table decides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.errors import NumericsError
from mcuq_lab.liteengine import GENERIC_FAMILIES, generate, kernel_key
from mcuq_lab.liteengine.kernels.conv2d_generic import lower_conv2d_generic
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.liteengine.tuning import tune
from mcuq_lab.quantize import random_graph, random_inputs
from mcuq_lab.storage import pack_batch
from tests.support.networks import resnet8
from tests.support.simulated_core import has_toolchain, run_on_core


def twin(suffix: str, predicted_cycles: int):
    """The generic convolution under another name."""

    def lower(op, tensors, target):
        return tuple(
            replace(way, kernel=f"{way.kernel}_{suffix}", predicted_cycles=predicted_cycles)
            for way in lower_conv2d_generic(op, tensors, target)
        )

    return lower


FAMILIES = (twin("praised", 1), *GENERIC_FAMILIES, twin("scorned", 10**9))


def invented_cycles(kernel: str) -> int:
    return {"praised": 300, "scorned": 100}.get(kernel.rpartition("_")[2], 200)


class Board:
    """Answers with invented cycles, and counts how often it is asked."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, sources):
        self.runs += 1
        return [invented_cycles(layer.kernel) for layer in sources.layers]


def test_every_way_is_measured_in_as_few_runs_as_possible():
    graph, board = resnet8(4), Board()
    table = tune(graph, board, FAMILIES)
    assert board.runs == 3
    for op in graph.ops:
        for way in candidates(op, graph.tensors, FAMILIES):
            expected = invented_cycles(way.kernel) if way.call else 0
            assert table[kernel_key(op, graph.tensors, way)] == expected


def test_table_overrules_predictions():
    graph = resnet8(4)
    table = tune(graph, Board(), FAMILIES)
    kernels = {layer.op: layer.kernel for layer in generate(graph, FAMILIES).layers}
    tuned = {layer.op: layer.kernel for layer in generate(graph, FAMILIES, table).layers}
    assert kernels["Conv2d"].endswith("_praised")
    assert tuned["Conv2d"].endswith("_scorned")


def test_what_is_known_is_not_measured_again():
    graph, board = resnet8(4), Board()
    table = tune(graph, board, FAMILIES)
    assert tune(graph, board, FAMILIES, table) == table
    assert board.runs == 3
    tune(resnet8(2), board, FAMILIES, table)
    assert board.runs == 6


def test_a_board_that_loses_layers_is_reported():
    with pytest.raises(NumericsError, match="every layer"):
        tune(resnet8(4), lambda sources: [1, 2, 3], GENERIC_FAMILIES)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
def test_measured_on_the_simulated_core():
    graph = random_graph(5)
    stored = pack_batch(random_inputs(graph, 1), graph.input)
    table = tune(graph, lambda sources: run_on_core(sources, stored).layer_cycles)
    assert all(np.array(list(table.values())) > 20)
    assert generate(graph, measured_cycles=table).layers
