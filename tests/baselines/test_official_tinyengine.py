"""The adapter to TinyEngine, tried on a tiny library of our own with the same functions."""

import shutil
from pathlib import Path

import pytest

from mcuq_lab.baselines.official import library_in_folder
from mcuq_lab.baselines.official.tinyengine import FOLDERS, generate, version_of
from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.pipeline import measure_network
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer

TINY = Path(__file__).with_name("tiny_tinyengine")
SAME = Window.square(3, 1, 1)
HEADER = "TinyEngine/include/tinyengine_function.h"
DEPTHWISE = single_layer(QDepthwiseConv2d, Shape(5, 7, 6), 6, SAME, zero_point=9, out_zero_point=30)
STRIDED = single_layer(QDepthwiseConv2d, Shape(7, 6, 5), 5, Window.square(3, 2, 1), zero_point=3)
POINTWISE = single_layer(QConv2d, Shape(5, 3, 12), 6, Window(1, 1), zero_point=9)
UNROLLED = single_layer(QConv2d, Shape(4, 3, 8), 4, Window(1, 1), out_zero_point=200)
CONVOLVE = single_layer(QConv2d, Shape(5, 6, 4), 6, SAME, zero_point=100)
FIRST = single_layer(QConv2d, Shape(8, 6, 3), 6, Window.square(3, 2, 1), zero_point=77)
FULLY = single_layer(QFullyConnected, Shape(1, 1, 12), 10, zero_point=9)
ADDITION = random_graph(9012, bits=8, max_ops=6)
AVERAGE, MAXIMUM = random_graph(9023, bits=8, max_ops=6), random_graph(9010, bits=8, max_ops=6)


@pytest.fixture
def folder(tmp_path):
    """The tiny library, after its code generator has run."""
    root = Path(shutil.copytree(TINY, tmp_path / "library"))
    (root / "codegen" / "Source").mkdir(parents=True)
    for stride in (1, 2):
        text = (TINY / "depthwise.c.in").read_text()
        text = text.replace("@KERNEL@", "3").replace("@STRIDE@", str(stride))
        (root / "codegen" / "Source" / f"stride{stride}.c").write_text(text)
    return root


def library(folder):
    return library_in_folder("TinyEngine", "tinyengine", folder, FOLDERS)


@pytest.fixture
def named(folder, tmp_path, monkeypatch):
    """The engine, where the settings name the tiny library's folder."""
    (tmp_path / "mcuq.toml").write_text('[libraries]\ntinyengine = "library"\n')
    monkeypatch.chdir(tmp_path)
    return engine_named("tinyengine_official")


@pytest.fixture(scope="module")
def session():
    with open_board(load_board(), simulated=True) as session:
        yield session


@pytest.mark.parametrize(
    ("graph", "function"),
    [
        (DEPTHWISE, "depthwise_kernel3x3_stride1_inplace_CHW_fpreq"),
        (STRIDED, "depthwise_kernel3x3_stride2_inplace_CHW_fpreq"),
        (POINTWISE, "convolve_1x1_s8_fpreq"),
        (UNROLLED, "convolve_1x1_s8_ch8_fpreq"),
        (CONVOLVE, "convolve_s8_kernel3_stride1_pad1"),
        (FIRST, "convolve_s8_kernel3_inputch3_stride2_pad1"),
        (FULLY, "convolve_1x1_s8_fpreq"),
    ],
)
def test_layers_on_the_simulated_board(named, session, folder, graph, function):
    found = measure_network(graph, named, session, random_inputs(graph, 3))
    assert found.bit_exact
    assert found.layers[0].kernel == function
    version, digest = version_of(library(folder)), library(folder).digest
    assert found.note == f"TinyEngine {version}, files {digest}"
    assert named.label == f"TinyEngine {version} (official library)"


@pytest.mark.parametrize(
    ("graph", "function"), [(AVERAGE, "avg_pooling"), (MAXIMUM, "max_pooling")]
)
def test_pools_of_windows_side_by_side(named, session, graph, function):
    found = measure_network(graph, named, session, random_inputs(graph, 2))
    assert found.bit_exact
    assert function in [layer.kernel for layer in found.layers]


def test_additions_round_without_a_c_library(named, session):
    found = measure_network(ADDITION, named, session, random_inputs(ADDITION, 3))
    assert found.bit_exact
    assert "add_fpreq" in [layer.kernel for layer in found.layers]


def test_the_addition_alone_is_compiled_without_fused_multiply_adds(folder):
    files = generate(ADDITION, library(folder)).files
    unfused = [file.name for file in files if "-ffp-contract=off" in file.arguments]
    assert [name.rsplit("/", 1)[-1] for name in unfused] == ["tiny_add.c"]


def test_what_the_library_has_no_function_for_runs_on_the_reimplementation(named, session):
    graph = random_graph(2099, bits=8, max_ops=12)
    found = measure_network(graph, named, session, random_inputs(graph, 2))
    assert found.bit_exact
    others = [layer.name for layer in found.layers if layer.kernel.startswith(("te_", "cn_"))]
    assert found.note.endswith(f"{', '.join(others)}: these on the re-implementation")


@pytest.mark.parametrize(
    ("graph", "taken"),
    [
        (POINTWISE, True),
        (single_layer(QConv2d, Shape(5, 3, 10), 6, Window(1, 1)), False),
        (single_layer(QConv2d, Shape(5, 3, 12), 5, Window(1, 1)), False),
        (single_layer(QConv2d, Shape(5, 3, 12), 6, Window(1, 1, 2, 2)), False),
        (CONVOLVE, True),
        (single_layer(QConv2d, Shape(5, 1, 4), 6, SAME), False),
        (single_layer(QConv2d, Shape(5, 6, 3), 6, SAME), False),
        (single_layer(QConv2d, Shape(5, 6, 4), 6, Window.square(3, 2, 1)), False),
        (DEPTHWISE, True),
        (single_layer(QDepthwiseConv2d, Shape(5, 6, 4), 4, Window.square(3)), False),
        (single_layer(QDepthwiseConv2d, Shape(5, 6, 4), 4, Window(3, 5, 1, 1, 1, 1, 2, 2)), False),
        (FIRST, True),
        (single_layer(QConv2d, Shape(8, 5, 3), 6, Window.square(3, 2, 1)), False),
        (FULLY, True),
        (single_layer(QFullyConnected, Shape(1, 1, 12), 7), False),
    ],
)
def test_shapes_that_the_library_takes(folder, graph, taken):
    (layer,) = generate(graph, library(folder)).layers
    assert layer.kernel.startswith(("te_", "cn_")) != taken


def test_the_version_is_that_of_the_files(folder):
    before = version_of(library(folder))
    (folder / HEADER).write_text((folder / HEADER).read_text() + "\n")
    assert version_of(library(folder)) != before


def test_depthwise_functions_must_have_been_generated(folder):
    shutil.rmtree(folder / "codegen")
    generate(POINTWISE, library(folder))
    with pytest.raises(ConfigError, match="none of its 6 C files defines depthwise_kernel3x3_str"):
        generate(DEPTHWISE, library(folder))


def test_other_versions_and_layouts_are_refused_with_what_differs(folder):
    path = folder / "TinyEngine" / "src" / "tiny_convolve_1x1.c"
    path.write_text(path.read_text().replace("const float *scales", "const double *scales"))
    with pytest.raises(ConfigError, match=r"tiny_convolve_1x1\.c declares .* with .*double"):
        generate(POINTWISE, library(folder))
    (folder / HEADER).unlink()
    with pytest.raises(ConfigError, match=f"has no {HEADER}"):
        version_of(library(folder))
