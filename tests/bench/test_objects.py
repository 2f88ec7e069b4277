"""Only what is new is compiled; the store stays within its bound."""

import os
import time

import pytest

from mcuq_lab.bench.objects import compile_objects
from mcuq_lab.bench.toolchain import find_host_compiler
from mcuq_lab.content_cache import ContentCache, content_key
from mcuq_lab.errors import BuildError
from mcuq_lab.sources import SourceFile


def compiled(files, cache, arguments=("-O1",)):
    return compile_objects(find_host_compiler(), files, arguments, cache).compiled


def test_only_changed_files_are_compiled_again(tiny, cache):
    files = tiny.sources.files
    assert compiled(files, cache) == ("model.c", "layer_add.c", "layer_dot.c")
    assert compiled(files, cache) == ()
    changed = tiny.make(add=tiny.texts["add"].replace("3u", "4u")).files
    assert compiled(changed, cache) == ("layer_add.c",)
    assert compiled(files, cache) == ()
    assert compiled(files, cache, ("-O2",)) == ("model.c", "layer_add.c", "layer_dot.c")


def test_a_header_concerns_only_those_who_include_it(cache):
    files = [
        SourceFile("a.c", '#include "deep/outer.h"\nint a(void) { return K; }\n'),
        SourceFile("b.c", "int b(void) { return 1; }\n"),
        SourceFile("deep/outer.h", '#  include "inner.h"\n'),
        SourceFile("deep/inner.h", "#define K 1\n"),
    ]
    assert compiled(files, cache) == ("a.c", "b.c")
    files[3] = SourceFile("deep/inner.h", "#define K 2\n")
    assert compiled(files, cache) == ("a.c",)


def test_an_include_by_macro_counts_as_all_headers(cache):
    files = [
        SourceFile("a.c", '#define WHICH "k.h"\n#include WHICH\nint a(void) { return K; }\n'),
        SourceFile("k.h", "#define K 1\n"),
    ]
    assert compiled(files, cache) == ("a.c",)
    files[1] = SourceFile("k.h", "#define K 2\n")
    assert compiled(files, cache) == ("a.c",)


def test_a_files_own_arguments_are_for_it_alone(cache):
    own = ("-DK=1", "-idirafter", "other")
    files = [
        SourceFile("a.c", "#include <mine.h>\nint a(void) { return K + MINE; }\n", own),
        SourceFile("b.c", "#include <stdlib.h>\nvoid *b(void) { return malloc(1); }\n"),
        SourceFile("other/mine.h", "#define MINE 1\n"),
        SourceFile("other/stdlib.h", "/* Not the host's. */\n"),
    ]
    arguments = ("-Wall", "-Werror")
    assert compiled(files, cache, arguments) == ("a.c", "b.c")
    files[0] = SourceFile("a.c", files[0].text, ("-DK=2", *own[1:]))
    assert compiled(files, cache, arguments) == ("a.c",)
    with pytest.raises(BuildError, match=r"mine\.h"):
        compiled([*files, SourceFile("c.c", "#include <mine.h>\n")], cache, arguments)


def test_equal_sources_give_equal_bytes(tiny, tmp_path):
    def build(name):
        cache = ContentCache(tmp_path / name)
        made = compile_objects(find_host_compiler(), tiny.sources.files, ("-g", "-O2"), cache)
        return [path.read_bytes() for path in made.paths]

    assert build("first") == build("second")


def test_names_must_differ_and_stay_inside(cache):
    with pytest.raises(BuildError, match=r"a\.c"):
        compiled([SourceFile("a.c", ""), SourceFile("a.c", "")], cache)
    with pytest.raises(BuildError, match="outside"):
        compiled([SourceFile("../a.c", "")], cache)


def test_the_store_forgets_what_was_not_used_for_longest(tmp_path):
    cache = ContentCache(tmp_path / "cache", limit_bytes=250, grace_s=10)
    made = tmp_path / "made"
    made.write_bytes(b"x" * 100)
    keys = [content_key(str(index)) for index in range(4)]
    for age_s, key in zip((400, 300, 200, 0), keys, strict=True):
        path = cache.store(key, made)
        os.utime(path, (time.time() - age_s,) * 2)
    assert cache.find(keys[0]) is not None  # used again, so it is young
    assert cache.sweep() == 200
    assert [cache.find(key) is not None for key in keys] == [True, False, False, True]
