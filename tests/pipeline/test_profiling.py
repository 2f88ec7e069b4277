"""Profiles of networks on simulated boards: all cycles of an inference, by what ran."""

import numpy as np
import pytest

from mcuq_lab.bench import build, open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import ENGINES
from mcuq_lab.errors import ConfigError
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS
from mcuq_lab.pipeline import stored_inputs
from mcuq_lab.policy import Policy
from mcuq_lab.profiling import profile_network
from mcuq_lab.quantize import calibrate, quantize
from mcuq_lab.target import DEFAULT_TARGET
from tests.support.networks import mobilenet

CALL_CYCLES = 16
"""Call and return, which the harness subtracts from its counts, and the profile has in part."""


def one_input(network) -> np.ndarray:
    shape = network.input.shape
    values = np.random.default_rng(0).integers(
        0, 1 << network.input.bits, shape.h * shape.w * shape.c
    )
    return values.astype(np.uint8).reshape(1, shape.h, shape.w, shape.c)


def waits(table) -> int:
    return int(table[["code_wait_cycles", "data_wait_cycles"]].to_numpy().sum())


@pytest.mark.parametrize(
    ("board", "clock", "seed"),
    [("nucleo_f412zg", "reset", 0), ("nucleo_f412zg", "max", 1), ("nucleo_f767zi", "reset", 2)],
)
def test_random_networks_add_up(board, clock, seed):
    network = mobilenet(None, seed, blocks=1)
    inputs = one_input(network)
    engine = ENGINES["liteengine"]
    with open_board(load_board(board), simulated=True, clock=clock) as session:
        found = profile_network(network, engine, session, inputs)
        sources = engine.generate(network, DEFAULT_TARGET)
        firmware = build(sources, session.board)
        run = session.run(firmware, stored_inputs(inputs, network, sources))
    profile = found.profile
    for table in (profile.functions(), profile.blocks(), profile.instructions()):
        assert table["cycles"].sum() == profile.cycles
        assert table[list(CAUSE_COLUMNS)].to_numpy().sum() == profile.cycles
    tree = profile.call_tree()
    assert tree["function"][0] == "mcuq_invoke"
    assert tree["cycles"].sum() == tree["inclusive_cycles"][0] == profile.cycles
    if (board, clock) == ("nucleo_f412zg", "reset"):
        assert abs(profile.cycles - run.cycles[0]) <= CALL_CYCLES
        assert waits(profile.functions()) == 0
    elif clock == "max":
        assert waits(profile.functions()) > 0
    assert found.bench.simulated


@pytest.mark.parametrize("engine", ["liteengine", "cmsis_nn"])
def test_a_layer_by_its_name(engine):
    network = mobilenet(8, blocks=1)
    inputs = one_input(network)
    chosen = ENGINES[engine]
    with open_board(load_board(), simulated=True) as session:
        sources = chosen.generate(network, DEFAULT_TARGET)
        names = [layer.name for layer in sources.layers]
        run = session.run(build(sources, session.board), stored_inputs(inputs, network, sources))
        for index in (0, 1):
            found = profile_network(network, chosen, session, inputs, names[index])
            assert found.layers == tuple(names)
            assert abs(found.profile.cycles - run.layer_cycles[index]) <= CALL_CYCLES
        with pytest.raises(ConfigError, match=f"no layer 'absent'; choose one of: {names[0]}, "):
            profile_network(network, chosen, session, inputs, "absent")


def test_a_real_board_is_refused(monkeypatch):
    network = mobilenet(8, blocks=1)
    with open_board(load_board(), simulated=True) as session:
        monkeypatch.setattr(type(session), "simulated", False)
        with pytest.raises(ConfigError, match=r"real board.*--simulated"):
            profile_network(network, ENGINES["liteengine"], session, one_input(network))


def test_a_layer_in_strips_is_profiled_with_those_that_run_with_it():
    graph = find_network("resnet8", "digits").graph
    images = find_dataset("digits").train_images[:16]
    network = quantize(graph, Policy.uniform(len(graph.layers), 4, 4), calibrate(graph, images))
    engine = ENGINES["liteengine"]
    with open_board(load_board(), simulated=True) as session:
        found = [
            profile_network(network, engine, session, one_input(network), layer).profile
            for layer in ("stack1_conv1_to_stack1_add", "stack1_conv1", "stack1_add")
        ]
    assert len({profile.cycles for profile in found}) == 1
