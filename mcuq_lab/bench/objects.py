"""C files to object files, through the cache: only what is new is compiled."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mcuq_lab.bench.cache import ContentCache, content_key
from mcuq_lab.bench.toolchain import Toolchain
from mcuq_lab.errors import BuildError
from mcuq_lab.sources import SourceFile

_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include\b(.*)$", re.MULTILINE)
_INCLUDED_NAME = re.compile(r'\s*[<"]([^>"]+)[>"]')
_COMPILED_SUFFIXES = (".c", ".S")
_PARALLEL_COMPILERS = 2
_COMPILE_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Objects:
    """Object files of one compilation.

    Attributes:
        paths: one for each C or assembly file, in the order given.
        keys: content key of each.
        compiled: names of the files that were not in the cache.
        seconds: wall time.
    """

    paths: tuple[Path, ...]
    keys: tuple[str, ...]
    compiled: tuple[str, ...]
    seconds: float


def compile_objects(
    toolchain: Toolchain,
    files: Sequence[SourceFile],
    arguments: Sequence[str],
    cache: ContentCache,
) -> Objects:
    """Compiles every .c and .S file in `files`; the others are headers for them.

    An object's identity is the compiler, the arguments, its source, and those headers among `files`
    that it includes (directly or through others); so a change of one layer compiles one layer.

    Raises:
        BuildError: two files share a name, or the compiler refuses one (with its first messages).
    """
    started = time.perf_counter()
    by_name = {file.name: file for file in files}
    if len(by_name) != len(files):
        names = sorted(file.name for file in files)
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BuildError(f"Several source files are called {', '.join(twice)}; names must differ.")
    units = [file for file in files if file.name.endswith(_COMPILED_SUFFIXES)]
    includes = _includes(files)
    keys = [_object_key(toolchain, unit, by_name, includes, arguments) for unit in units]
    found = [cache.find(key) for key in keys]
    missing = [index for index, path in enumerate(found) if path is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix="mcuq-build-") as name:
            directory = Path(name)
            _write_files(directory, files)
            include = [f"-I{path}" for path in _header_directories(files)]

            def compile_one(index: int) -> None:
                made = directory / f".object-{index}.o"
                options = [*arguments, *units[index].arguments, *include]
                _compile(toolchain, units[index].name, directory, made, options)
                found[index] = cache.store(keys[index], made)

            with ThreadPoolExecutor(_PARALLEL_COMPILERS) as pool:
                # list() waits, and raises the first error.
                list(pool.map(compile_one, missing))
    return Objects(
        paths=tuple(path for path in found if path is not None),
        keys=tuple(keys),
        compiled=tuple(units[index].name for index in missing),
        seconds=time.perf_counter() - started,
    )


def _object_key(
    toolchain: Toolchain,
    unit: SourceFile,
    by_name: dict[str, SourceFile],
    includes: dict[str, frozenset[str]],
    arguments: Sequence[str],
) -> str:
    parts = ["object", toolchain.banner, toolchain.machine, *arguments, *unit.arguments]
    for name in (unit.name, *_reached(unit.name, includes)):
        parts += [name, by_name[name].text]
    return content_key(*parts)


def _includes(files: Sequence[SourceFile]) -> dict[str, frozenset[str]]:
    """For each file, the names of all files that it may include itself.

    A superset of what the preprocessor reads: it looks into dead #if branches too, and takes every
    file whose last component is the included one's. An include by macro counts as all files.
    """
    by_last: dict[str, list[str]] = {}
    for file in files:
        by_last.setdefault(_last(file.name), []).append(file.name)
    everything = [file.name for file in files]
    includes = {}
    for file in files:
        found: set[str] = set()
        for match in _INCLUDE.finditer(file.text):
            wanted = _INCLUDED_NAME.match(match.group(1))
            found.update(by_last.get(_last(wanted.group(1)), []) if wanted else everything)
        includes[file.name] = frozenset(found)
    return includes


def _reached(name: str, includes: dict[str, frozenset[str]]) -> list[str]:
    """Names of all headers that the file reaches, directly or through others; sorted."""
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        new = includes[waiting.pop()] - reached
        reached |= new
        waiting += new
    return sorted(reached - {name})


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _header_directories(files: Sequence[SourceFile]) -> list[str]:
    """Directories of the headers, relative to the root of the sources; the root first.

    One that a file names among its own arguments is for such files alone.
    """
    parents = {str(PurePosixPath(file.name).parent) for file in files if file.is_header}
    own = {argument for file in files for argument in file.arguments}
    return [".", *sorted(parents - {"."} - own)]


def _write_files(directory: Path, files: Sequence[SourceFile]) -> None:
    root = directory.resolve()
    for file in files:
        path = (root / file.name).resolve()
        if not path.is_relative_to(root):
            raise BuildError(f"Source file '{file.name}' would lie outside of the build directory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)


def _compile(
    toolchain: Toolchain, name: str, directory: Path, made: Path, arguments: Sequence[str]
) -> None:
    # The prefix map keeps the temporary directory out of the object: equal sources, equal bytes.
    command = [
        str(toolchain.path),
        *arguments,
        f"-ffile-prefix-map={directory}=.",
        "-c",
        name,
        "-o",
        str(made),
    ]
    run_tool(command, directory, f"compile {name}", _COMPILE_TIMEOUT_S)


def run_tool(command: Sequence[str], directory: Path, task: str, timeout_s: float) -> None:
    """Runs a compiler or linker; raises BuildError with its first messages when it fails."""
    # In English, whatever the user's language: messages are searched and quoted.
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"Gave up to {task}: not done in {timeout_s:g} s.") from error
    if done.returncode != 0:
        said = "\n".join(done.stderr.strip().splitlines()[:20])
        raise BuildError(f"{Path(command[0]).name} could not {task}:\n{said}")
