"""Files compiled as one give the image that they give one by one."""

import re
from dataclasses import replace

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from mcuq_lab.bench import build
from mcuq_lab.bench.joined_units import joined_text, quickly_read, units_of
from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.bench.section_order import in_order_of_marks
from mcuq_lab.bench.toolchain import BuildFlags, find_host_compiler, find_toolchain
from mcuq_lab.board import load_board
from mcuq_lab.errors import BuildError
from mcuq_lab.sources import SourceFile

BOARD = load_board("nucleo_f412zg")


def layer(index, name=None):
    """A file with constants that refer to each other, functions, and nothing to share."""
    name = name or f"n{index}"
    return SourceFile(
        f"layer_{index}.c",
        '#include "kernel.h"\n'
        f"static const uint8_t {name}_weights[5] __attribute__((aligned(4))) = {{\n"
        f"    {index}, 255, 0,\n    92, 34,\n}};\n"
        f"static const int32_t {name}_starts[2] __attribute__((aligned(4))) = {{1, -{index}}};\n"
        f"static const layer {name}_layer = {{{name}_weights, {name}_starts, {index}}};\n"
        f"static int {name}_twice(int x) {{ return 2 * kernel(&{name}_layer, x); }}\n"
        f"int layer_{index}(int x) {{ return {name}_twice(x) + {name}_twice(x + 1); }}\n",
        joinable=True,
    )


HEADER = SourceFile(
    "kernel.h",
    "#pragma once\n#include <stdint.h>\n"
    "typedef struct { const uint8_t *weights; const int32_t *starts; int n; } layer;\n"
    "int kernel(const layer *layer, int x);\n",
)


def objects(files, cache):
    return compile_objects(find_toolchain(), files, BuildFlags().arguments(BOARD), cache)


def joinable_layers(sources):
    files = [replace(f, joinable=f.name.startswith("layer_")) for f in sources.files]
    return replace(sources, files=tuple(files))


def test_an_image_is_the_same_as_of_files_compiled_one_by_one(tiny, cache):
    one_by_one = build(tiny.sources, BOARD, cache=cache)
    joined = build(joinable_layers(tiny.sources), BOARD, cache=cache)
    assert joined.compiled == ("layer_add.c", "layer_dot.c")
    assert joined.image.segments == one_by_one.image.segments
    assert joined.image.symbols == one_by_one.image.symbols
    assert joined.image.sections == one_by_one.image.sections
    assert joined.sizes == one_by_one.sizes


def test_sections_lie_as_in_the_files_own_objects(cache):
    files = [layer(index) for index in (3, 1, 2)]
    single = [replace(file, joinable=False) for file in files]

    def constants(paths):
        found = []
        for path in paths:
            with path.open("rb") as stream:
                found += [
                    (section.name, section.data())
                    for section in ELFFile(stream).iter_sections()
                    if re.match(r"\.(text|rodata)\..*(n\d|layer)", section.name)
                ]
        code = [item for item in found if item[0].startswith(".text")]
        return code, [item for item in found if item not in code]

    joined = objects([HEADER, *files], cache)
    assert len(joined.paths) == 1
    assert constants(joined.paths) == constants(objects([HEADER, *single], cache).paths)


def test_files_that_share_a_name_are_compiled_one_by_one(cache):
    made = objects([HEADER, layer(1, "same"), layer(2, "same")], cache)
    assert len(made.paths) == 2
    assert made.compiled == ("layer_1.c", "layer_2.c")


def test_an_error_is_told_of_the_file_that_has_it(cache):
    wrong = SourceFile("layer_2.c", "int layer_2(void) { return nothing; }\n", joinable=True)
    with pytest.raises(BuildError, match=r"could not compile layer_2\.c"):
        objects([HEADER, layer(1), wrong], cache)


def test_on_a_host_each_file_has_its_object(cache):
    files = [HEADER, layer(1), layer(2)]
    assert len(compile_objects(find_host_compiler(), files, ("-O1",), cache).paths) == 2


def test_only_neighbours_without_arguments_of_their_own_are_joined():
    files = [layer(1), layer(2), SourceFile("a.c", ""), replace(layer(3), arguments=("-O1",))]
    names = [[file.name for file in unit] for unit in units_of([*files, layer(4)])]
    assert names == [["layer_1.c", "layer_2.c"], ["a.c"], ["layer_3.c"], ["layer_4.c"]]


def test_each_file_is_included_once_and_marked():
    text = joined_text([layer(1), layer(2)])
    assert re.findall(r'#include "(.*)"', text) == ["layer_1.c", "layer_2.c"]
    assert re.findall(r"mcuq_mark_\d+\b(?=\"\))", text) == ["mcuq_mark_0", "mcuq_mark_1"]


@pytest.mark.parametrize("elf", [b"\x7fELF\x02\x01" + bytes(60), b"MZ" + bytes(62)])
def test_only_objects_of_the_target_are_put_in_order(elf):
    with pytest.raises(BuildError, match="no ELF32"):
        in_order_of_marks(elf, [".rodata.mcuq_mark_0"])


def test_an_object_without_the_marks_is_refused(cache):
    (path,) = objects([HEADER, layer(1)], cache).paths
    with pytest.raises(BuildError, match="as expected"):
        in_order_of_marks(path.read_bytes(), [".rodata.mcuq_mark_0"])


@given(st.lists(st.integers(0, 255), min_size=1, max_size=60), st.integers(1, 20))
def test_a_string_holds_the_bytes_and_keeps_the_lines(values, width):
    lines = [values[at : at + width] for at in range(0, len(values), width)]
    body = "\n".join("    " + ", ".join(map(str, line)) + "," for line in lines)
    text = f"static const uint8_t x[{len(values)}] = {{\n{body}\n}};\nint after;\n"
    quick = quickly_read(text)
    octal = re.findall(r"\\(\d{3})", quick)
    assert [int(digits, 8) for digits in octal] == values
    assert quick.count("\n") == text.count("\n")
    assert quick.endswith(";\nint after;\n")


@pytest.mark.parametrize("item", ["256", "0x10, 3", "007", "3, , 4"])
def test_what_is_no_plain_list_of_bytes_stays(item):
    text = f"static const uint8_t x[4] = {{\n    {item},\n}};\n"
    assert quickly_read(text) == text
    assert quickly_read(text.replace("uint8_t", "int8_t")) == text.replace("uint8_t", "int8_t")
