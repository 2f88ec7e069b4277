"""Tuning: every way is measured once, and the table decides."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.errors import NumericsError
from mcuq_lab.liteengine import GENERIC_FAMILIES, batches, generate, kernel_key, plan, trials
from mcuq_lab.liteengine.kernels.conv2d_generic import lower_conv2d_generic
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.liteengine.strips import Strips
from mcuq_lab.liteengine.tuning import (
    IMAGE_FLASH_BYTES,
    IMAGE_TRIALS,
    image_flash_bytes,
    trial_sources,
    tune,
)
from mcuq_lab.quantize import random_graph, random_inputs
from mcuq_lab.storage import pack_batch
from tests.support.networks import mobilenet, resnet8
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
    table = tune(graph, board, FAMILIES, worth_trying=math.inf)
    assert board.runs == 1
    for op in graph.ops:
        for way in candidates(op, graph.tensors, FAMILIES):
            expected = invented_cycles(way.kernel) if way.call else 0
            assert table.get(kernel_key(op, graph.tensors, way), 0) == expected


def test_table_overrules_predictions():
    graph = resnet8(4)
    table = tune(graph, Board(), FAMILIES, worth_trying=math.inf)
    kernels = {layer.op: layer.kernel for layer in generate(graph, FAMILIES).layers}
    tuned = {layer.op: layer.kernel for layer in generate(graph, FAMILIES, table).layers}
    assert kernels["Conv2d"].endswith("_praised")
    assert tuned["Conv2d"].endswith("_scorned")


def test_what_is_known_is_not_measured_again():
    graph, board = resnet8(4), Board()
    table = tune(graph, board, FAMILIES)
    assert tune(graph, board, FAMILIES, table) == table
    assert board.runs == 1
    tune(resnet8(2), board, FAMILIES, table)
    assert board.runs == 2


def test_what_is_predicted_to_be_much_slower_is_not_measured():
    graph, board = resnet8(4), Board()
    families = (twin("praised", 100), twin("near", 140), twin("far", 10_000), *GENERIC_FAMILIES)
    table = tune(graph, board, families)
    kernels = {key.split("|")[0].rpartition("_")[2] for key in table if "conv2d" in key}
    assert kernels == {"praised", "near"}


def test_what_may_beat_the_measured_ways_is_measured_in_the_end():
    """The best prediction was far too good: the ways that looked poor beside it get their turn."""
    graph, families = resnet8(4), (twin("praised", 100), twin("far", 160), *GENERIC_FAMILIES)
    table = tune(graph, Board(), families)
    kernels = {key.split("|")[0].rpartition("_")[2] for key in table if "conv2d" in key}
    assert kernels == {"praised", "far"}
    assert plan(graph, families, table).schedule == "tuned"


def test_schedule_says_whether_all_of_it_was_measured():
    graph = resnet8(4)
    table = tune(graph, Board(), FAMILIES)
    assert generate(graph, FAMILIES).schedule == "predicted"
    assert generate(graph, FAMILIES, table).schedule == "tuned"
    used = plan(graph, FAMILIES, table).steps[3]
    del table[kernel_key(used.op, graph.tensors, used.lowered)]
    assert generate(graph, FAMILIES, table).schedule == "predicted"


def test_images_of_trials_stay_small():
    left = trials(resnet8(4), {}, FAMILIES)
    parts = list(batches(left * 9))
    assert [trial for part in parts for trial in part] == list(left * 9)
    for part in parts:
        assert len(part) <= IMAGE_TRIALS
        assert image_flash_bytes(part) <= IMAGE_FLASH_BYTES


def test_a_board_that_loses_layers_is_reported():
    with pytest.raises(NumericsError, match="every layer"):
        tune(resnet8(4), lambda sources: [1, 2, 3], GENERIC_FAMILIES)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
def test_measured_on_the_simulated_core():
    graph = random_graph(5)
    nothing = np.zeros((1, 8), np.uint8)
    table = tune(graph, lambda sources: run_on_core(sources, nothing).layer_cycles)
    sources = generate(graph, measured_cycles=table)
    assert sources.schedule == "tuned"
    stored = pack_batch(random_inputs(graph, 1), graph.input)
    alone = [
        table[key]
        for key in (
            kernel_key(step.op, graph.tensors, step.lowered)
            for step in plan(graph, measured_cycles=table).steps
        )
    ]
    assert run_on_core(sources, stored).layer_cycles == pytest.approx(alone, rel=0.02, abs=8)


def test_layers_in_strips_are_measured_as_one():
    graph = mobilenet(8)
    expected = plan(graph)
    strips = expected.steps[0]
    assert isinstance(strips.op, Strips)
    table = {trial.key: trial.way.predicted_cycles for trial in trials(graph, {})}
    assert kernel_key(strips.op, graph.tensors, strips.lowered) in table
    tuned = plan(graph, measured_cycles=table)
    assert tuned.schedule == "tuned"
    assert [step.lowered.kernel for step in tuned.steps] == [
        step.lowered.kernel for step in expected.steps
    ]
    assert trials(graph, table) == ()


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
def test_a_trial_of_strips_runs_on_the_simulated_core():
    found = trials(mobilenet(8), {}, worth_trying=1.0)
    batch = [trial for trial in found if isinstance(trial.op, Strips)][:1]
    sources = trial_sources(batch)
    nothing = np.zeros((1, 8), np.uint8)
    cycles = run_on_core(sources, nothing).layer_cycles
    assert cycles[0] == pytest.approx(batch[0].way.predicted_cycles, rel=0.1)
