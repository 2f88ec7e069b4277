"""The adapter to ARM's CMSIS-NN, tried on a tiny library of our own with the same public API."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mcuq_lab.baselines import cmsis_nn
from mcuq_lab.baselines.official import library_in_folder
from mcuq_lab.baselines.official.cmsis_nn import CALLED, FOLDERS, generate, version_of
from mcuq_lab.bench import open_board, run_on_host, run_program
from mcuq_lab.board import load_board
from mcuq_lab.doctor import examine
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import BoardError, ConfigError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.pipeline import measure_network
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer

TINY = Path(__file__).with_name("tiny_cmsis_nn")
FUNCTIONS, TYPES = "Include/arm_nnfunctions.h", "Include/arm_nn_types.h"
CONV = single_layer(QConv2d, Shape(5, 5, 3), 5, Window.square(3, 1, 1), zero_point=3)


@pytest.fixture
def folder(tmp_path):
    """A copy of the tiny library, to be damaged."""
    return Path(shutil.copytree(TINY, tmp_path / "library"))


def library(folder):
    return library_in_folder("CMSIS-NN", "cmsis_nn", folder, FOLDERS)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_on_the_host(seed):
    graph = random_graph(2000 + seed, bits=8)
    inputs = random_inputs(graph, 3)
    expected = cmsis_nn.run_reference(graph, inputs)
    sources = generate(graph, library(TINY), run_program)
    outputs = run_on_host(sources, (inputs ^ 0x80).reshape(3, -1)) ^ 0x80
    np.testing.assert_array_equal(outputs, expected.reshape(3, -1))


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_with_weights_of_4_bits(seed):
    graph = random_graph(2100 + seed, bits=8, w_bits=(4,) if seed % 2 else (4, 8))
    inputs = random_inputs(graph, 3)
    expected = cmsis_nn.run_reference(graph, inputs)
    sources = generate(graph, library(TINY), run_program)
    outputs = run_on_host(sources, (inputs ^ 0x80).reshape(3, -1)) ^ 0x80
    np.testing.assert_array_equal(outputs, expected.reshape(3, -1))


@pytest.fixture
def named(folder, tmp_path, monkeypatch):
    """The engine, where the settings name the tiny library's folder."""
    shutil.copy(folder / "sample.pdsc", folder / "ARM.CMSIS-NN.pdsc")
    (tmp_path / "mcuq.toml").write_text('[libraries]\ncmsis_nn = "library"\n')
    monkeypatch.chdir(tmp_path)
    return engine_named("cmsis_nn_official")


def test_networks_on_the_simulated_board(named, folder):
    graphs = [
        random_graph(2099, bits=8, max_ops=12),
        random_graph(2080, bits=8, max_ops=8),
        single_layer(QDepthwiseConv2d, Shape(6, 7, 9), 9, Window.square(3, 2, 1), zero_point=3),
        single_layer(QConv2d, Shape(5, 5, 8), 3, Window(1, 1, 2, 2), out_zero_point=200),
        single_layer(QFullyConnected, Shape(1, 1, 23), 5, zero_point=9),
    ]
    called = set()
    with open_board(load_board(), simulated=True) as session:
        for graph in graphs:
            found = measure_network(graph, named, session, random_inputs(graph, 2))
            assert found.bit_exact
            assert found.engine == "cmsis_nn_official"
            assert found.note == f"CMSIS-NN 7.0.0, files {library(folder).digest}"
            called |= {layer.kernel for layer in found.layers}
    assert called == {name for name in CALLED if "buffer_size" not in name}


def test_weights_of_4_bits_on_the_simulated_board(named):
    assert named.supports("w4a8")
    graphs = [
        single_layer(QConv2d, Shape(5, 5, 3), 5, Window.square(3, 1, 1), w_bits=4, zero_point=3),
        single_layer(QDepthwiseConv2d, Shape(6, 7, 9), 9, Window.square(3, 2, 1), w_bits=4),
        single_layer(QFullyConnected, Shape(1, 1, 23), 5, w_bits=4, zero_point=9),
    ]
    with open_board(load_board(), simulated=True) as session:
        found = [
            measure_network(graph, named, session, random_inputs(graph, 2)) for graph in graphs
        ]
    assert all(measurement.bit_exact for measurement in found)
    kernels = [measurement.layers[0].kernel for measurement in found]
    assert kernels == [
        "arm_convolve_wrapper_s4",
        "arm_depthwise_conv_wrapper_s4",
        "arm_convolve_wrapper_s4",
    ]
    assert found[2].note.endswith("as a 1x1 convolution")


def test_a_library_without_4_bits_runs_8(folder):
    text = (folder / FUNCTIONS).read_text()
    (folder / FUNCTIONS).write_text(text.replace("arm_convolve_wrapper_s4", "arm_absent"))
    generate(CONV, library(folder), run_program)
    narrow = single_layer(QConv2d, Shape(5, 5, 3), 5, Window.square(3, 1, 1), w_bits=4)
    with pytest.raises(ConfigError, match="does not declare arm_convolve_wrapper_s4"):
        generate(narrow, library(folder), run_program)


def test_the_label_carries_the_version(named):
    assert named.label == "CMSIS-NN 7.0.0 (official library)"


def test_buffers_are_as_large_as_the_library_says(folder):
    graph = random_graph(2003, bits=8, max_ops=12)
    layers = generate(graph, library(folder), run_program).layers
    sizes = {layer.name: layer.scratch_bytes for layer in layers}
    for op in graph.ops:
        if isinstance(op, QConv2d) and not (op.window.kernel_h == op.window.kernel_w == 1):
            depth = op.window.kernel_h * op.window.kernel_w * graph.tensors[op.inputs[0]].shape.c
            assert sizes[op.name] == 2 * depth
    sizes_file = folder / "Source" / "Convolution" / "tiny_buffer_sizes.c"
    sizes_file.write_text(
        sizes_file.read_text().replace("return window *", "return 100 + window *")
    )
    larger = generate(graph, library(folder), run_program)
    assert larger.scratch_bytes == max(sizes.values()) + 100


def test_only_what_a_network_needs_is_compiled():
    files = {file.name for file in generate(CONV, library(TINY), run_program).files}
    assert {name for name in files if name.endswith(".c")} == {
        "model.c",
        "cmsis_nn/Source/Convolution/tiny_convolve.c",
        "cmsis_nn/Source/Other/tiny_support.c",
    }


def test_a_refused_call_is_no_measurement(named, folder):
    convolve = folder / "Source" / "Convolution" / "tiny_convolve.c"
    convolve.write_text(convolve.read_text().replace("input_dims->n != 1", "1"))
    with (
        open_board(load_board(), simulated=True) as session,
        pytest.raises(BoardError, match="fault"),
    ):
        measure_network(CONV, named, session, random_inputs(CONV, 1))


def test_a_copy_between_releases_is_named_by_its_header(folder):
    assert version_of(library(folder)) == "after header revision 18.0.0"
    shutil.copy(folder / "sample.pdsc", folder / "ARM.CMSIS-NN.pdsc")
    assert version_of(library(folder)) == "7.0.0"


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        ("ARM.CMSIS-NN.pdsc", '"7.0.0"', '"6.0.0"', r"version 6\.0\.0, .* 7\.0\.0 and later"),
        ("ARM.CMSIS-NN.pdsc", "</package>", "", "no XML"),
        (FUNCTIONS, "arm_fully_connected_wrapper_s8", "arm_fc", "does not declare arm_fully_conn"),
        (FUNCTIONS, "ctx, const cmsis", "ctx, int extra, const cmsis", r"declares \w+ with"),
        (FUNCTIONS, "const uint32_t total", "const uint64_t total", "arm_reshape_s8 with"),
        (TYPES, "ch_mult", "multiplier", r"has no cmsis_nn_dw_conv_params\.ch_mult"),
        (TYPES, "cmsis_nn_tile;", "tile;", "has no structure cmsis_nn_tile"),
        ("Source/Convolution/tiny_convolve.c", "wrapper_s8(", "s8(", "none of its 7 C files def"),
    ],
)
def test_other_versions_are_refused_with_what_differs(folder, path, old, new, message):
    shutil.copy(folder / "sample.pdsc", folder / "ARM.CMSIS-NN.pdsc")
    text = (folder / path).read_text()
    assert old in text
    (folder / path).write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as error:
        generate(CONV, library(folder), run_program)
    assert str(folder) in str(error.value)


def test_other_layouts_are_refused_with_what_was_looked_for(folder, tmp_path):
    (folder / FUNCTIONS).unlink()
    with pytest.raises(ConfigError, match=r"has no Include/arm_nnfunctions\.h; name another copy"):
        version_of(library(folder))
    shutil.copytree(TINY, tmp_path / "outer" / "nested")
    with pytest.raises(ConfigError, match=r"Include.*folder nested: name that one"):
        version_of(library(tmp_path / "outer"))
    with pytest.raises(ConfigError, match="no folder"):
        library(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no C file"):
        library(tmp_path / "empty")


def test_without_the_library_the_engine_says_how_to_name_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    engine = engine_named("cmsis_nn_official")
    assert engine.label == "CMSIS-NN (official library)"
    with pytest.raises(ConfigError, match=r'\[libraries\]: cmsis_nn = "folder.*or "pack"'):
        engine.generate(CONV, None)


def test_doctor_says_which_libraries_it_found(named, folder):
    (found,) = (check for check in examine() if check.check == "library cmsis_nn")
    assert found.ok
    assert found.detail.startswith("CMSIS-NN 7.0.0 in ")
    (folder / FUNCTIONS).unlink()
    (found,) = (check for check in examine() if check.check == "library cmsis_nn")
    assert not found.ok
    assert FUNCTIONS in found.detail
