"""The TinyEngine baseline: its C equals its specification, which stays near the network's."""

import ctypes
import subprocess
from importlib import resources

import numpy as np
import pytest

from mcuq_lab.baselines import tinyengine
from mcuq_lab.bench import run_on_host
from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import run_reference
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer


def c_equals_reference(graph, n=4):
    inputs = random_inputs(graph, n)
    expected = tinyengine.run_reference(graph, inputs)
    stored = (inputs ^ 0x80).reshape(n, -1)
    outputs = run_on_host(tinyengine.generate(graph), stored) ^ 0x80
    np.testing.assert_array_equal(outputs, expected.reshape(n, -1))
    return expected, inputs


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed):
    c_equals_reference(random_graph(3000 + seed, bits=8))


@pytest.mark.parametrize(
    ("kind", "shape", "oc", "window"),
    [
        (QConv2d, Shape(7, 5, 4), 6, Window.square(3, 1, 1)),
        (QConv2d, Shape(7, 5, 3), 5, Window.square(3, 2, 1)),
        (QConv2d, Shape(6, 9, 3), 6, Window.square(3, 1, 1)),
        (QConv2d, Shape(8, 5, 3), 3, Window(3, 3, 1, 2, 0, 1, 2, 0)),
        (QConv2d, Shape(2, 2, 3), 4, Window.square(3, 1, 1)),
        (QConv2d, Shape(6, 7, 16), 3, Window(1, 1)),
        (QConv2d, Shape(5, 6, 24), 4, Window(1, 1, 2, 1)),
        (QConv2d, Shape(6, 6, 8), 8, Window(2, 5, 1, 2, 0, 1, 2, 1)),
        (QConv2d, Shape(3, 3, 6), 7, Window(1, 1)),
        (QConv2d, Shape(3, 5, 8), 7, Window(1, 1)),
        (QConv2d, Shape(5, 5, 20), 4, Window(1, 1, 2, 2)),
        (QDepthwiseConv2d, Shape(6, 7, 9), 9, Window.square(3, 1, 1)),
        (QDepthwiseConv2d, Shape(6, 7, 8), 8, Window.square(3, 2, 1)),
        (QDepthwiseConv2d, Shape(6, 7, 3), 3, Window(5, 4, 1, 2, 2, 1, 0, 3)),
        (QFullyConnected, Shape(1, 1, 23), 5, None),
        (QFullyConnected, Shape(1, 1, 24), 5, None),
    ],
)
@pytest.mark.parametrize("weights", ["random", "lowest", "highest"])
def test_single_layers(kind, shape, oc, window, weights):
    graph = single_layer(kind, shape, oc, window, zero_point=3, out_zero_point=17, weights=weights)
    expected, inputs = c_equals_reference(graph)
    # The two engines round otherwise, never by more than one step of the output.
    ours = run_reference(graph, inputs).astype(int)
    assert np.abs(ours - expected).max() <= 1


def test_depthwise_works_in_place():
    shape, window = Shape(8, 8, 16), Window.square(3, 1, 1)
    sources = tinyengine.generate(single_layer(QDepthwiseConv2d, shape, 16, window))
    plane = 10 * 10
    assert sources.scratch_bytes == plane
    assert sources.arena_bytes <= shape.size + plane + 16


def test_other_widths_are_refused():
    graph = single_layer(QConv2d, Shape(4, 4, 2), 3, Window(1, 1), a_bits=4)
    with pytest.raises(ModelError, match=r"TinyEngine .* widths \[4, 8\].* w8a8"):
        tinyengine.generate(graph)


@pytest.fixture(scope="module")
def te_round(tmp_path_factory):
    """The kernels' round(), compiled for this computer."""
    directory = tmp_path_factory.mktemp("round")
    text = '#include "te_round.h"\ndouble rounded(double x);\n'
    (directory / "round.c").write_text(text + "double rounded(double x) { return te_round(x); }\n")
    kernels = resources.files(tinyengine).joinpath("kernels")
    library = directory / "round.so"
    command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    command += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", f"-I{kernels}"]
    subprocess.run([*command, str(directory / "round.c"), "-o", str(library)], check=True)
    function = ctypes.CDLL(str(library)).rounded
    function.argtypes, function.restype = [ctypes.c_double], ctypes.c_double
    return function


def test_rounding_without_a_c_library(te_round):
    halves = [0.5 + n for n in (0, 1, 2, 127, 2**19 - 1, 2**19, 2**20 - 1, 2**20, 2**51, 2**52 - 1)]
    powers = [2.0**n for n in (*range(-30, 64), -1074, -1022, 1023)]
    drawn = np.random.default_rng(0).uniform(-1, 1, 2000) * 2.0 ** np.linspace(-3, 56, 2000)
    near = [np.nextafter(x, to) for x in halves + powers for to in (-np.inf, np.inf)]
    for x in (0.0, np.inf, *halves, *powers, *near, *drawn):
        for value in (float(x), -float(x)):
            whole = np.trunc(value)
            up = np.isfinite(value) and abs(value - whole) >= 0.5
            assert te_round(value) == whole + np.copysign(up, value)
            assert np.signbit(te_round(value)) == np.signbit(value)
    assert np.isnan(te_round(np.nan))
