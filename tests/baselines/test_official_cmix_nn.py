"""The adapter to CMix-NN, tried on a tiny library of our own with the same public API."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from mcuq_lab.baselines.official import library_in_folder
from mcuq_lab.baselines.official.cmix_nn import FOLDERS, as_computed, generate, version_of
from mcuq_lab.bench import open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import engine_named
from mcuq_lab.errors import ConfigError, ModelError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.pipeline import measure_network
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import run_reference
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer

TINY = Path(__file__).with_name("tiny_cmix_nn")
WIDTHS = (8, 4, 2)
KINDS = {"convolve": "arm_convolve_HWC", "depthwise": "arm_depthwise_separable_conv_HWC"}
SAME = Window.square(3, 1, 1)
CONV = single_layer(QConv2d, Shape(6, 6, 16), 8, Window.square(3, 1, 1), zero_point=3)


@pytest.fixture
def folder(tmp_path):
    """The tiny library, one function for every combination of widths."""
    root = tmp_path / "library"
    (root / "Include").mkdir(parents=True)
    (root / "Source").mkdir()
    signature, prototypes = (TINY / "signature.in").read_text().rstrip(), []
    for stem, kind in KINDS.items():
        template = (TINY / f"{stem}.c.in").read_text()
        for widths in itertools.product(WIDTHS, repeat=3):
            name = "{}_u{}_u{}_u{}_icn".format(kind, *widths)
            declared = signature.replace("@NAME@", name)
            prototypes.append(f"{declared};\n")
            text = template.replace("@SIGNATURE@", declared)
            for label, bits in zip(("@IN@", "@OUT@", "@WT@"), widths, strict=True):
                text = text.replace(label, str(bits))
            (root / "Source" / f"{name}.c").write_text(text)
    header = (TINY / "arm_cmixnn.h.in").read_text()
    header = header.replace("/* @PROTOTYPES@ */", "\n".join(prototypes))
    (root / "Include" / "arm_cmixnn.h").write_text(header)
    for name in ("tiny_output.h", "tiny_output.c"):
        (root / "Source" / name).write_text((TINY / name).read_text())
    return root


def library(folder):
    return library_in_folder("CMix-NN", "cmix_nn", folder, FOLDERS)


@pytest.fixture
def named(folder, tmp_path, monkeypatch):
    """The engine, where the settings name the tiny library's folder."""
    (tmp_path / "mcuq.toml").write_text('[libraries]\ncmix_nn = "library"\n')
    monkeypatch.chdir(tmp_path)
    return engine_named("cmix_nn_official")


@pytest.fixture(scope="module")
def session():
    with open_board(load_board(), simulated=True) as session:
        yield session


def convolution(w, a, out, window=SAME, **options):
    widths = {"w_bits": w, "a_bits": a, "out_bits": out}
    return single_layer(QConv2d, Shape(6, 6, 16), 8, window, **widths, **options)


@pytest.mark.parametrize(
    "graph",
    [
        convolution(8, 8, 8, zero_point=9, out_zero_point=100),
        convolution(4, 8, 4, zero_point=200),
        convolution(2, 4, 2, zero_point=5, weights="ends"),
        convolution(4, 2, 8, Window(1, 1, 2, 2)),
        convolution(2, 2, 2, out_zero_point=1),
        convolution(8, 4, 4, Window(3, 3, 2, 2, 1, 0, 1, 0), out_zero_point=7),
        single_layer(QDepthwiseConv2d, Shape(5, 5, 8), 8, Window.square(3, 1, 1)),
        single_layer(
            QDepthwiseConv2d, Shape(6, 6, 8), 8, Window.square(3, 2, 0), a_bits=4, zero_point=3
        ),
    ],
    ids=lambda graph: f"{graph.ops[0].op}-{graph.policy}-{graph.output.bits}",
)
def test_layers_on_the_simulated_board(named, session, folder, graph):
    found = measure_network(graph, named, session, random_inputs(graph, 3))
    assert found.bit_exact
    assert found.layers[0].kernel.startswith("arm_")
    assert found.note == f"CMix-NN 1.0.0, files {library(folder).digest}"


def test_what_the_library_has_no_function_for_runs_on_the_reimplementation(named, session):
    graph = random_graph(2099, bits=4, max_ops=12)
    found = measure_network(graph, named, session, random_inputs(graph, 2))
    assert found.bit_exact
    others = [layer.name for layer in found.layers if layer.kernel.startswith("cx_")]
    assert others
    assert found.note.endswith(f"{', '.join(others)}: these on the re-implementation")


@pytest.mark.parametrize("seed", range(4))
def test_its_requantization_is_that_of_the_network_within_a_step(seed, named):
    graph = convolution(4, 8, 8, seed=seed, zero_point=3)
    inputs = random_inputs(graph, 4)
    ours, theirs = run_reference(graph, inputs), named.reference(graph, inputs)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.9


@pytest.mark.parametrize(
    ("graph", "taken"),
    [
        (CONV, True),
        (single_layer(QConv2d, Shape(6, 6, 3), 8, Window.square(3, 1, 1)), False),
        (single_layer(QConv2d, Shape(6, 6, 16), 6, Window.square(3, 1, 1)), False),
        (single_layer(QConv2d, Shape(6, 5, 16), 8, Window.square(3, 1, 1)), False),
        (single_layer(QConv2d, Shape(7, 6, 16), 8, Window(2, 1)), False),
        (single_layer(QConv2d, Shape(6, 6, 4), 8, Window.square(3, 1, 1), w_bits=2), False),
        (single_layer(QDepthwiseConv2d, Shape(5, 5, 6), 6, Window.square(3, 1, 1)), False),
        (
            single_layer(QDepthwiseConv2d, Shape(5, 5, 8), 8, Window.square(3, 1, 1), zero_point=1),
            False,
        ),
        (single_layer(QFullyConnected, Shape(1, 1, 16), 8), False),
    ],
)
def test_shapes_that_the_library_takes(folder, graph, taken):
    (layer,) = generate(graph, library(folder)).layers
    assert layer.kernel.startswith("arm_") == taken


def test_other_widths_are_refused():
    with pytest.raises(ModelError, match="8, 4 or 2"):
        as_computed(single_layer(QConv2d, Shape(6, 6, 16), 8, Window(1, 1), w_bits=3))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Release v1.0.0", "Release v2.0.0", r"revision '2\.0\.0'; .* release 1"),
        ("$Revision", "Date", "revision ''"),
        ("HWC_u8_u8_u8_icn", "HWC_u8_u8_u8_old", "does not declare arm_convolve_HWC_u8_u8_u8_icn"),
        ("const uint16_t stride", "const uint8_t stride", "where MCUQ would call it with"),
    ],
)
def test_other_versions_are_refused_with_what_differs(folder, old, new, message):
    header = folder / "Include" / "arm_cmixnn.h"
    assert old in header.read_text()
    header.write_text(header.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        generate(CONV, library(folder))
    assert str(folder) in str(error.value)


def test_other_layouts_are_refused_with_what_was_looked_for(folder):
    (folder / "Source" / "arm_convolve_HWC_u8_u8_u8_icn.c").unlink()
    with pytest.raises(ConfigError, match="none of its 54 C files defines arm_convolve_HWC_u8_u"):
        generate(CONV, library(folder))
    (folder / "Include" / "arm_cmixnn.h").unlink()
    with pytest.raises(ConfigError, match=r"has no Include/arm_cmixnn\.h"):
        version_of(library(folder))
