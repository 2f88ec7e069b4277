"""The re-implementation is no straw man: within 10 % of the library itself.

`cmsis_nn_library.csv` holds cycles of CMSIS-NN 7's s8 wrappers, compiled by gcc 12.2 -O3, on a
Cortex-M4 cycle model with zero wait states.

The two other tables hold shapes that it does not, and 4-bit weights. They were measured on the
simulated NUCLEO-F412ZG: the library's public sources (github.com/ARM-software/CMSIS-NN, what they
say for cores with DSP instructions), behind the adapter of `baselines/official`, compiled by
arm-none-eabi-gcc 12.2.1 with the flags that every engine has here. On the first table's layers that
gives 0.98 to 1.06 of its cycles. All outputs were those of the reference, but for fully connected
layers of 4-bit weights, where the library has one scale for all outputs. Revisions, as the files
name them: s8: convolve 3.5.0, mat_mult_kernel_s8_s16 2.1.1, mat_mult_nt_t of commit 7676d05,
depthwise_conv_3x3 3.1.2, depthwise_conv_s8_opt of f6a8918, vec_mat_mult_t_per_ch of 058a6a1,
elementwise_add 3.0.2, avgpool 3.1.0, max_pool 3.1.0; s4: mat_mult_kernel_s4_s16 1.1.1, all others
1.0.0.
"""

import csv
from pathlib import Path

import pytest

from mcuq_lab.bench import open_board
from mcuq_lab.benchmark import bench_layers, measure_random
from mcuq_lab.board import load_board
from mcuq_lab.engines import ENGINES
from tests.baselines.layers_without_weights import layer_without_weights

ENGINE = ENGINES["cmsis_nn"]

FASTEST, SLOWEST = 0.90, 1.10
"""What the engine's note says. Faster would be another algorithm than the published one."""

LARGEST_CODE = 1.0
"""The library's wrappers link each variant of a layer, ours the one that the layer takes."""

QUICK_CYCLES = 1_500_000
"""Longer layers of the second table are left to the night."""


def facts(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(__file__).with_name(name).open()))


def shape_case(fact):
    marks = pytest.mark.nightly if int(fact["cycles"]) > QUICK_CYCLES else ()
    return pytest.param(fact, marks=marks, id=f"{fact['layer']}-{fact['policy']}")


@pytest.fixture(scope="module")
def session():
    with open_board(load_board(), simulated=True) as session:
        yield session


@pytest.mark.parametrize("fact", facts("cmsis_nn_library.csv"), ids=lambda fact: fact["layer"])
def test_cycles_scratch_and_code(session, fact):
    near_the_library(session, fact, "w8a8")


@pytest.mark.parametrize("fact", [shape_case(fact) for fact in facts("cmsis_nn_other_shapes.csv")])
def test_other_shapes_and_weights_of_4_bits(session, fact):
    near_the_library(session, fact, fact["policy"])


def near_the_library(session, fact, policy):
    (row,) = bench_layers(session, [fact["layer"]], [policy], [ENGINE])
    assert row.bit_exact
    assert FASTEST <= row.cycles / int(fact["cycles"]) <= SLOWEST
    assert row.scratch_bytes == int(fact["scratch_bytes"])
    assert row.code_bytes / int(fact["code_bytes"]) <= LARGEST_CODE


@pytest.mark.parametrize(
    "fact",
    facts("cmsis_nn_layers_without_weights.csv"),
    ids=lambda fact: "-".join((fact["kind"], fact["size"], fact["channels"])),
)
def test_layers_without_weights(session, fact):
    found = measure_random(layer_without_weights(fact), ENGINE, session)
    assert found.bit_exact
    assert FASTEST <= found.cycles / int(fact["cycles"]) <= SLOWEST
    assert found.layers[0].scratch_bytes == int(fact["scratch_bytes"])
