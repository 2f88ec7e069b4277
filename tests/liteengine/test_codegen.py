"""The generated C: its contract, its form, and what a change of policy changes."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest

from mcuq_lab.errors import BuildError
from mcuq_lab.liteengine import FAMILIES, GENERIC_FAMILIES, generate, plan
from mcuq_lab.liteengine.codegen import generate_sources
from mcuq_lab.liteengine.ctext import c_array, c_comment, c_identifier
from mcuq_lab.quantize import random_graph
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import Target
from tests.support.networks import mobilenet, resnet8
from tests.support.simulated_core import build_image, has_toolchain

needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def text_of(sources, name: str) -> str:
    return next(file.text for file in sources.files if file.name == name)


def test_equal_networks_give_equal_text():
    assert generate(resnet8(4)).digest == generate(resnet8(4)).digest


def changed_files(graph, other) -> set[str]:
    """Of two networks layer by layer: in a large arena nothing runs in strips."""
    target = Target(arena_bytes=1 << 20)
    before, after = (
        {file.name: file.text for file in generate(g, GENERIC_FAMILIES, target=target).files}
        for g in (graph, other)
    )
    return {name for name in before | after if before.get(name) != after.get(name)}


def with_layer(graph, name: str, **fields):
    ops = tuple(replace(op, **fields) if op.name == name else op for op in graph.ops)
    return replace(graph, ops=ops)


def test_other_weights_change_one_file():
    graph = resnet8(8)
    weight = graph.ops[5].weight ^ 1
    other = with_layer(graph, graph.ops[5].name, weight=weight)
    assert changed_files(graph, other) == {f"layer_05_{graph.ops[5].name}.c"}


def test_another_width_of_weights_changes_the_layer_its_kernel_and_the_model():
    graph = resnet8(8)
    changed = changed_files(graph, with_layer(graph, "conv2_2", w_bits=5))
    kernel = "le_conv2d_w5a8_generic_o8"
    assert changed == {"layer_05_conv2_2.c", "model.c", f"{kernel}.c", f"{kernel}.h"}


def test_model_header_keeps_the_contract():
    graph = resnet8(4)
    planned = plan(graph)
    header = text_of(generate_sources(planned), "model.h")
    values = {name: int(value) for name, value in re.findall(r"#define (MCUQ_\w+)\s+(\d+)", header)}
    assert values == {
        "MCUQ_INPUT_BYTES": graph.input.size_bytes,
        "MCUQ_OUTPUT_BYTES": graph.output.size_bytes,
        "MCUQ_ARENA_BYTES": planned.arena_bytes,
        "MCUQ_LAYER_COUNT": len(planned.steps),
        "MCUQ_INPUT_OFFSET": planned.tensor_offsets["input"],
        "MCUQ_OUTPUT_OFFSET": planned.tensor_offsets["fc"],
    }
    assert "extern uint8_t mcuq_arena[MCUQ_ARENA_BYTES];" in header
    assert "void mcuq_invoke(const uint8_t *input, uint8_t *output);" in header


def test_layers_say_what_they_compute():
    sources = generate(mobilenet(4))
    assert [layer.name for layer in sources.layers][:3] == ["stem", "dw1", "pw1"]
    assert "flat" not in {layer.name for layer in sources.layers}  # an alias, nothing to run
    assert sources.layers[1].policy == "w4a4"
    assert sources.layers[0].policy == "w4a8"
    assert sources.layers[0].macs == 32 * 32 * 8 * 27
    assert sources.scratch_bytes == max(layer.scratch_bytes for layer in sources.layers)
    assert all(
        re.fullmatch(r"le_[a-z0-9]+_(w[2-8])?(a[2-8])+\w*", x.kernel) for x in sources.layers
    )


def test_text_is_plain_and_narrow():
    for file in generate(resnet8(4)).files:
        assert file.text.isascii(), file.name
        assert "\t" not in file.text
        assert not re.search(r"[ ]+$", file.text, re.MULTILINE), file.name


def test_two_kernels_of_one_name_are_refused():
    planned = plan(random_graph(3), GENERIC_FAMILIES)
    files = planned.steps[0].lowered.files
    object.__setattr__(
        planned.steps[0].lowered, "files", (*files, SourceFile(files[-1].name, "int other;\n"))
    )
    with pytest.raises(BuildError, match="different text"):
        generate_sources(planned)


def test_identifiers_are_valid_and_distinct():
    names = ["a.b", "a_b", "a-b", "0a", "conv1", "größe", "layer1.0.conv1"]
    identifiers = [c_identifier(name) for name in names]
    assert len(set(identifiers)) == len(names)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in identifiers)
    assert c_identifier("conv1") == "conv1"


def test_comments_cannot_be_closed_by_a_name():
    assert c_comment(["a */ int b;"]).count("*/") == 1


def test_lowest_integer_is_no_overflowing_literal():
    assert "(-2147483647 - 1)" in c_array("int32_t", "x", [-(1 << 31), 5])


@needs_toolchain
@pytest.mark.slow
@pytest.mark.parametrize("families", [GENERIC_FAMILIES, FAMILIES], ids=["generic", "all"])
@pytest.mark.parametrize("network", [resnet8, mobilenet])
def test_board_build_is_clean_and_needs_no_library(network, families, tmp_path):
    """-Wall -Wextra -Werror -ffreestanding, and no undefined symbol is left without libc."""
    sources = generate(network(None, seed=5), families)
    main = SourceFile("main_core.c", '#include "model.h"\nvoid run(void) { mcuq_invoke(0, 0); }\n')
    image = build_image((*sources.files, main), ("run",))
    listing = subprocess.run(
        ["arm-none-eabi-objdump", "-d", str(image)], capture_output=True, text=True, check=True
    ).stdout
    assert "smlad" in listing
    assert "smmla" in listing
    assert re.search(r"usat\s+\w+, #\d", listing)
