"""The straight line on the simulated board: its integers are the reference's, for every network."""

from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.bench import open_board
from mcuq_lab.board import board_ids, load_board
from mcuq_lab.engines import ENGINES
from mcuq_lab.errors import FitError
from mcuq_lab.models import ZOO, find_dataset, find_network
from mcuq_lab.pipeline import measure, measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, quantize, quantize_input

POLICIES = ("w8a8", "w4a4", "w2a2", "w8a4", "w4a8", "w3a5", "random 0", "random 1")


@pytest.fixture(scope="module")
def images():
    return find_dataset("digits").train_images[:256]


@pytest.fixture(scope="module", params=sorted(ZOO))
def calibrated(request, images):
    graph = find_network(request.param, "digits").graph
    return graph, calibrate(graph, images)


def policy_of(text: str, n_layers: int) -> Policy:
    if not text.startswith("random"):
        return Policy.parse(text, n_layers)
    rng = np.random.default_rng(int(text.split()[1]))
    return Policy.of(rng.integers(2, 9, (n_layers, 2)))


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_board_equals_reference(calibrated, images, policy):
    graph, tables = calibrated
    network = quantize(graph, policy_of(policy, len(graph.layers)), tables)
    inputs = quantize_input(images[:2], network.input)
    with open_board(load_board(), simulated=True) as session:
        for engine in ENGINES.values():
            if engine.supports(policy):
                measurement = measure_network(network, engine, session, inputs)
                assert measurement.bit_exact, engine.name
                assert measurement.run.arena_touched_bytes <= measurement.sizes.sram_arena_bytes
                assert measurement.bench.simulated


def test_the_line_read_aloud(images):
    graph = find_network("resnet8", "digits").graph
    policy = Policy.uniform(len(graph.layers), 4, 4)
    measurement = measure(graph, policy, ENGINES["liteengine"], load_board(), images)
    assert measurement.bit_exact
    assert measurement.cycles > 0
    assert len(measurement.layers) == len(measurement.run.layer_cycles)


@pytest.mark.slow
@pytest.mark.parametrize("board_id", board_ids())
def test_every_board_at_every_clock(images, board_id):
    graph = find_network("squeezenet_tiny", "digits").graph
    network = quantize(graph, policy_of("w4a4", len(graph.layers)), calibrate(graph, images))
    inputs = quantize_input(images[:2], network.input)
    board = load_board(board_id)
    cycles = {}
    for clock in board.clocks:
        with open_board(board, simulated=True, clock=clock.name) as session:
            measurement = measure_network(network, ENGINES["liteengine"], session, inputs)
        assert measurement.bit_exact
        assert measurement.bench.sysclk_hz == clock.sysclk_hz
        cycles[clock.name] = measurement.cycles
    assert cycles["max"] > cycles["reset"]  # wait states cost cycles


def test_a_network_that_does_not_fit_says_by_how_many_bytes(images):
    """A VGG of 8-bit tensors on a board whose SRAM was cut: the message names bytes and layers."""
    graph = find_network("vgg_tiny", "digits").graph
    network = quantize(graph, policy_of("w8a8", len(graph.layers)), calibrate(graph, images))
    board = load_board()
    tight = replace(board, stack_bytes=250 * 1024)
    with open_board(board, simulated=True) as session:
        session.board = tight
        with pytest.raises(FitError, match="does not fit SRAM by") as caught:
            measure_network(
                network, ENGINES["liteengine"], session, quantize_input(images[:1], network.input)
            )
    assert caught.value.memory == "sram"
    assert caught.value.overflow_bytes > 0
