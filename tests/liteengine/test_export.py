"""Export: two files that compile alone and compute the same."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.errors import ConfigError
from mcuq_lab.liteengine import generate
from mcuq_lab.liteengine.export import export_c, joined
from mcuq_lab.quantize import random_graph, random_inputs, run_reference
from mcuq_lab.sources import SourceFile, Sources
from mcuq_lab.storage import pack_batch
from tests.support.networks import resnet8
from tests.support.simulated_core import FLAGS, has_toolchain


@pytest.mark.parametrize("seed", [5, 7, 11])
def test_joined_file_computes_the_same(seed):
    graph = random_graph(seed)
    sources = generate(graph)
    one = Sources(**{**vars(sources), "files": joined(sources)})
    inputs = random_inputs(graph, 4)
    outputs = run_on_host(one, pack_batch(inputs, graph.input))
    np.testing.assert_array_equal(outputs, pack_batch(run_reference(graph, inputs), graph.output))


def test_only_the_contract_is_visible(tmp_path):
    export_c(resnet8(4), tmp_path)
    command = [
        "gcc",
        "-std=c11",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-O1",
        "-c",
        "model.c",
        "-o",
        "m.o",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    listing = subprocess.run(["nm", "-g", "m.o"], cwd=tmp_path, capture_output=True, text=True)
    symbols = {line.split()[-1]: line.split()[-2] for line in listing.stdout.splitlines()}
    assert set(symbols) == {"mcuq_arena", "mcuq_invoke", "mcuq_layers"}
    assert "U" not in symbols.values()


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
def test_board_compiles_it(tmp_path):
    export_c(resnet8(None), tmp_path)
    command = ["arm-none-eabi-gcc", *FLAGS, "-c", "model.c", "-o", "m.o"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_readme_states_the_sizes(tmp_path):
    graph = resnet8(4)
    written = export_c(graph, tmp_path)
    sources = generate(graph)
    assert {path.name for path in written} >= {"model.c", "model.h", "README.md"}
    text = (tmp_path / "README.md").read_text()
    assert f"{sources.arena_bytes:,}" in text
    assert f"{sources.weights_bytes:,}" in text
    for layer in sources.layers:
        assert f"| {layer.name} |" in text
        assert layer.kernel in text


def test_unwritable_directory_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Choose another directory"):
        export_c(resnet8(8), tmp_path / "file")


def test_what_is_not_c_stays_beside(tmp_path):
    sources = generate(random_graph(5))
    assembly = SourceFile("kernel.S", ".syntax unified\n")
    files = joined(Sources(**{**vars(sources), "files": (*sources.files, assembly)}))
    assert assembly in files
    assert "LE_INTERNAL static" not in files[0].text  # assembly calls across files
