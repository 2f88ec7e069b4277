"""C files to object files, through the cache: only what is new is compiled."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mcuq_lab.bench.comments import without_comments
from mcuq_lab.bench.joined_units import in_order_of_files, joined_text, quickly_read, units_of
from mcuq_lab.bench.toolchain import Toolchain
from mcuq_lab.content_cache import ContentCache, content_key
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
        paths: in the order of the C and assembly files; one for each, or for several joinable ones.
        keys: content key of each.
        compiled: names of the files that were not in the cache.
        seconds: wall time.
    """

    paths: tuple[Path, ...]
    keys: tuple[str, ...]
    compiled: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class _Unit:
    """What becomes one object: a file, or several joinable ones."""

    members: tuple[SourceFile, ...]
    key: str


def compile_objects(
    toolchain: Toolchain,
    files: Sequence[SourceFile],
    arguments: Sequence[str],
    cache: ContentCache,
) -> Objects:
    """Compiles every .c and .S file in `files`; the others are headers for them.

    An object's identity is the compiler, the arguments, its source, and those headers among `files`
    that it includes (directly or through others), without their comments; so a change of one layer
    compiles one layer.
    Joinable files next to each other become one object, with the sections and the order of theirs.

    Raises:
        BuildError: two files share a name, or the compiler refuses one (with its first messages).
    """
    started = time.perf_counter()
    by_name = {file.name: file for file in files}
    if len(by_name) != len(files):
        names = sorted(file.name for file in files)
        twice = sorted({name for name in names if names.count(name) > 1})
        raise BuildError(f"Several source files are called {', '.join(twice)}; names must differ.")
    sources = [file for file in files if file.name.endswith(_COMPILED_SUFFIXES)]
    includes = _includes(files)

    def unit_of(members: tuple[SourceFile, ...]) -> _Unit:
        return _Unit(members, _object_key(toolchain, members, by_name, includes, arguments))

    # On a host nothing depends on where constants lie.
    joined = units_of(sources) if toolchain.machine.startswith("arm") else [(f,) for f in sources]
    units = [unit_of(members) for members in joined]
    found = {unit.key: cache.find(unit.key) for unit in units}
    missing = [unit for unit in units if found[unit.key] is None]
    if missing:
        with tempfile.TemporaryDirectory(prefix="mcuq-build-") as name:
            directory = Path(name)
            names = {file.name for unit in missing for file in unit.members}
            names.update(_reached(names, includes))
            _write_files(directory, files, names)
            headers = [f"-I{path}" for path in _header_directories(files)]

            def compile_one(unit: _Unit) -> None:
                own = unit.members[0].arguments  # several have none
                options = [*arguments, *own, *headers]
                made = _compile_unit(toolchain, unit, directory, options)
                found[unit.key] = cache.store(unit.key, made)

            def compile_joined(unit: _Unit) -> list[_Unit]:
                try:
                    compile_one(unit)
                except BuildError:
                    if len(unit.members) == 1:
                        raise
                    # One by one; and should a file be wrong, its message is the right one.
                    units = [unit_of((member,)) for member in unit.members]
                    for single in units:
                        compile_one(single)
                    return units
                return [unit]

            with ThreadPoolExecutor(_PARALLEL_COMPILERS) as pool:
                # list() waits, and raises the first error.
                made = dict(zip(missing, pool.map(compile_joined, missing), strict=True))
            units = [one for unit in units for one in made.get(unit, [unit])]
    paths = [path for unit in units if (path := found[unit.key]) is not None]
    return Objects(
        paths=tuple(paths),
        keys=tuple(unit.key for unit in units),
        compiled=tuple(file.name for unit in missing for file in unit.members),
        seconds=time.perf_counter() - started,
    )


def _object_key(
    toolchain: Toolchain,
    members: Sequence[SourceFile],
    by_name: dict[str, SourceFile],
    includes: dict[str, frozenset[str]],
    arguments: Sequence[str],
) -> str:
    parts = ["object", toolchain.banner, toolchain.machine, *arguments, *members[0].arguments]
    if len(members) > 1:
        parts += ["joined", str(len(members))]
    names = [file.name for file in members]
    for name in (*names, *_reached(names, includes)):
        parts += [name, _text_that_counts(by_name[name])]
    return content_key(*parts)


def _text_that_counts(file: SourceFile) -> str:
    # Constants are long, and hardly ever the same in another policy.
    is_c = file.name.endswith((".c", ".h")) and not file.joinable
    return without_comments(file.text) if is_c else file.text


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


def _reached(names: Collection[str], includes: dict[str, frozenset[str]]) -> list[str]:
    """Names of all headers that the files reach, directly or through others; sorted."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        new = includes[waiting.pop()] - reached
        reached |= new
        waiting += new
    return sorted(reached.difference(names))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _header_directories(files: Sequence[SourceFile]) -> list[str]:
    """Directories of the headers, relative to the root of the sources; the root first.

    One that a file names among its own arguments is for such files alone.
    """
    parents = {str(PurePosixPath(file.name).parent) for file in files if file.is_header}
    own = {argument for file in files for argument in file.arguments}
    return [".", *sorted(parents - {"."} - own)]


def _write_files(directory: Path, files: Sequence[SourceFile], names: set[str]) -> None:
    """Writes those files that have one of the names, and makes the directories of all."""
    paths = [PurePosixPath(file.name) for file in files]
    for file, path in zip(files, paths, strict=True):
        if path.is_absolute() or ".." in path.parts:
            raise BuildError(f"Source file '{file.name}' would lie outside of the build directory.")
    for parent in {path.parent for path in paths}:
        (directory / parent).mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.name in names:
            text = quickly_read(file.text) if file.joinable else file.text
            (directory / file.name).write_text(text)


def _compile_unit(
    toolchain: Toolchain, unit: _Unit, directory: Path, options: Sequence[str]
) -> Path:
    """The object file of one unit, in the directory of the sources."""
    made = directory / f".object-{unit.key}.o"
    if len(unit.members) == 1:
        _compile(toolchain, unit.members[0].name, directory, made, options)
    else:
        name = f".joined-{unit.key}.c"
        (directory / name).write_text(joined_text(unit.members))
        _compile(toolchain, name, directory, made, options)
        made.write_bytes(in_order_of_files(made.read_bytes(), unit.members))
    return made


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
