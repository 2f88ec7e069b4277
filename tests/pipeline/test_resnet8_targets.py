"""ResNet-8 as it comes, without any budget: few cycles and little SRAM in the same image."""

import numpy as np
import pytest

from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import ENGINES
from mcuq_lab.models import find_network
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import load_quantized, random_inputs

MOST_CYCLES_AND_SRAM_BYTES = {
    "w8a8": (12_300_000, 38 << 10),
    "w4a4": (5_700_000, 20 << 10),
    "w2a2": (4_600_000, 12 << 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("policy", MOST_CYCLES_AND_SRAM_BYTES)
def test_cycles_and_sram_are_low_together(policy):
    most_cycles, most_bytes = MOST_CYCLES_AND_SRAM_BYTES[policy]
    graph = find_network("resnet8", "cifar10").graph
    network = load_quantized(graph, "cifar10", Policy.parse(policy, len(graph.layers)))
    inputs = random_inputs(network, 1).astype(np.uint8)
    with open_board(load_board(), simulated=True) as session:
        measurement = measure_network(network, ENGINES["liteengine"], session, inputs)
    assert measurement.bit_exact
    assert measurement.run.arena_touched_bytes <= measurement.sizes.sram_arena_bytes
    assert measurement.cycles <= most_cycles
    assert measurement.sram_peak_bytes <= most_bytes
