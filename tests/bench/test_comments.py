"""Comments are taken out of C, and nothing else."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcuq_lab.bench.comments import without_comments
from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.bench.toolchain import find_host_compiler
from mcuq_lab.liteengine.runtime import runtime_headers
from mcuq_lab.sources import SourceFile

PIECES = [
    "int a;",
    "/* one */",
    "/* two\n * lines */",
    "/**/",
    "// of one line /* no end",
    '"/* no comment */"',
    r'"\"/*"',
    "'\"'",
    "/* don't \" */",
    "\n",
    "*/",
    "a / *b",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_a_preprocessor_sees_the_same_tokens_on_the_same_lines(pieces):
    text = "\n".join(pieces)
    plain = without_comments(text)
    assert plain.count("\n") == text.count("\n")
    assert without_comments(plain) == plain
    strings = [piece for piece in pieces if piece.startswith(('"', "'"))]
    assert all(string in plain for string in strings)
    assert "one */" not in plain
    assert "lines */" not in plain


@pytest.mark.parametrize("header", runtime_headers(), ids=lambda header: header.name)
def test_gcc_reads_the_same(header):
    def preprocessed(text):
        command = ["gcc", "-E", "-P", "-x", "c", "-nostdinc", "-dD", "-"]
        kept = "\n".join(line for line in text.splitlines() if "#include" not in line)
        done = subprocess.run(command, input=kept, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert preprocessed(without_comments(header.text)) == preprocessed(header.text)


@pytest.mark.parametrize(
    "text", ["#define A \\\n /* x */ 1\n", "// x \\\n/* y\nint z; /* */\n", "??/ /* x */\n"]
)
def test_an_unclear_text_stays(text):
    assert without_comments(text) == text


def test_a_file_that_differs_in_comments_alone_is_not_compiled_again(cache):
    def compiled(c_text, h_text):
        files = [SourceFile("a.c", c_text), SourceFile("a.h", h_text)]
        return compile_objects(find_host_compiler(), files, ("-O1",), cache).compiled

    source, header = (
        '/* 1 */\n#include "a.h"\nint a(void) { return K; }\n',
        "/* w8 */\n#define K 1\n",
    )
    assert compiled(source, header) == ("a.c",)
    assert compiled(source.replace("/* 1 */", "/* more */"), header.replace("w8", "w4a4")) == ()
    assert compiled("\n" + source, header) == ("a.c",)  # other line numbers
    assert compiled(source, header.replace("K 1", "K 2")) == ("a.c",)
