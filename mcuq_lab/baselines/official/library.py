"""A library as the user has it: its files by path, in a folder or in a CMSIS pack."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree

from mcuq_lab.baselines.official.c_reading import (
    definitions,
    files_needed,
    parameter_types,
    struct_members,
)
from mcuq_lab.errors import ConfigError
from mcuq_lab.sources import LayerInfo, SourceFile

_READ_SUFFIXES = (".c", ".h", ".pdsc")
_NEVER_READ = (".git", "Tests", "Documentation", "Examples", "build")

_FOREIGN = ("-std=gnu11", "-w")


@dataclass(frozen=True, eq=False)
class Library:
    """A library that was found.

    Attributes:
        name: as its makers write it, `CMSIS-NN`.
        key: its entry in the settings, `cmsis_nn`; also its directory among generated sources.
        place: where it lies, for messages.
        files: text of its C files, headers and pack description, by path below its root.
    """

    name: str
    key: str
    place: str
    files: Mapping[str, str]

    @cached_property
    def digest(self) -> str:
        """First eight digits of the SHA-256 over all its files, and over nothing else."""
        state = hashlib.sha256()
        for path, text in sorted(self.files.items()):
            state.update(f"{path}\0{text}\0".encode())
        return state.hexdigest()[:8]

    def text(self, path: str) -> str:
        """A file's text; raises ConfigError with the path if the library has none such."""
        if path not in self.files:
            raise ConfigError(self._elsewhere(path))
        return self.files[path]

    def check_functions(self, header: str, expected: Mapping[str, str]) -> None:
        """Raises ConfigError unless a header declares functions with these parameter types.

        `expected` gives each function's types as C writes them, with commas between.
        """
        text = self.text(header)
        for function, declared in expected.items():
            types = parameter_types(text, function)
            wanted = parameter_types(f"void {function}({declared});", function)
            if types is None:
                raise ConfigError(
                    f"{self.name} in {self.place}: {header} does not declare {function}. "
                    f"This is another version than MCUQ knows; {self._next_step()}."
                )
            if types != wanted:
                raise ConfigError(
                    f"{self.name} in {self.place}: {header} declares {function} with "
                    f"({', '.join(types)}), where MCUQ would call it with ({declared}). "
                    f"This is another version than MCUQ knows; {self._next_step()}."
                )

    def check_definitions(self, expected: Mapping[str, str]) -> None:
        """As `check_functions`, for functions that no header declares: by their C files."""
        for function, declared in expected.items():
            self.check_functions(self._file_of(function), {function: declared})

    def check_structures(self, header: str, expected: Mapping[str, str]) -> None:
        """Raises ConfigError unless a header's structures have these members (`"w h"`)."""
        text = self.text(header)
        for structure, members in expected.items():
            found = struct_members(text, structure)
            missing = [name for name in members.split() if name not in (found or ())]
            if missing:
                what = f"structure {structure}" if found is None else f"{structure}.{missing[0]}"
                raise ConfigError(
                    f"{self.name} in {self.place}: {header} has no {what}. "
                    f"This is another version than MCUQ knows; {self._next_step()}."
                )

    @cached_property
    def _c_files(self) -> dict[str, str]:
        return {path: text for path, text in self.files.items() if path.endswith(".c")}

    @cached_property
    def _home(self) -> dict[str, str]:
        return definitions(self._c_files)

    def sources_for(
        self, functions: Iterable[str], arguments: tuple[str, ...] = ()
    ) -> tuple[SourceFile, ...]:
        """Its headers, and those of its C files that `functions` need, as files to be compiled.

        Foreign code is not held to the project's warnings; `arguments` are its own.

        Raises:
            ConfigError: no C file defines one of the functions.
        """
        functions = tuple(functions)
        for function in functions:
            self._file_of(function)
        headers = sorted(path for path in self.files if path.endswith(".h"))
        made = [SourceFile(f"{self.key}/{path}", self.files[path]) for path in headers]
        for path in files_needed(self._c_files, self._home, functions):
            options = (*_FOREIGN, *arguments)
            made.append(SourceFile(f"{self.key}/{path}", self._c_files[path], options))
        return tuple(made)

    def note(self, version: str, layers: Iterable[LayerInfo], called: Container[str]) -> str:
        """What a reader of a result row must know: version, files, and layers that it lacks."""
        note = f"{self.name} {version}, files {self.digest}"
        others = [layer.name for layer in layers if layer.kernel not in called]
        if others:
            note += f"; it has no function for {', '.join(others)}: these on the re-implementation"
        return note

    def _file_of(self, function: str) -> str:
        if function not in self._home:
            raise ConfigError(
                f"{self.name} in {self.place}: none of its {len(self._c_files)} C files "
                f"defines {function}. Complete it, or {self._next_step()}."
            )
        return self._home[function]

    def _elsewhere(self, path: str) -> str:
        """What to say when `path` is missing; names the right folder if it is further down."""
        deeper = sorted(other for other in self.files if other.endswith(f"/{path}"))
        if deeper:
            right = deeper[0].removesuffix(f"/{path}")
            advice = f"it is in its folder {right}: name that one"
        else:
            advice = self._next_step()
        return f"{self.name} in {self.place} has no {path}; {advice}."

    def _next_step(self) -> str:
        return f"name another copy as [libraries] {self.key} in mcuq.toml"


def library_in_folder(name: str, key: str, folder: Path, below: Iterable[str] = ("",)) -> Library:
    """Reads a library from the user's folder.

    Args:
        name, key: see `Library`.
        folder: its root.
        below: the subfolders to look into, beside the root itself.

    Raises:
        ConfigError: there is no such folder, or no C file in it.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"[libraries] {key} in mcuq.toml names {folder}, which is no folder. "
            f"Give the root of {name}'s sources."
        )
    starts = [folder / start for start in below if (folder / start).is_dir()]
    # Where none is there, everything is looked through, to name the right folder.
    paths = [path for start in starts or [folder] for path in start.rglob("*")]
    files = {}
    for path in sorted({*paths, *folder.glob("*")}):
        inner = path.relative_to(folder).as_posix()
        if path.is_file() and _is_read(inner):
            files[inner] = path.read_text(errors="replace")
    if not any(path.endswith(".c") for path in files):
        raise ConfigError(
            f"[libraries] {key} in mcuq.toml names {folder}, where no C file lies. "
            f"Give the root of {name}'s sources."
        )
    return Library(name, key, str(folder), files)


def _is_read(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.suffix in _READ_SUFFIXES and not set(parts.parts) & set(_NEVER_READ)


def library_in_pack(name: str, key: str, pack: Path, below: Iterable[str] = ("",)) -> Library:
    """Reads a library from a CMSIS pack, which stays packed; arguments as `library_in_folder`.

    Raises:
        ConfigError: the file is no pack.
    """
    try:
        with zipfile.ZipFile(pack) as archive:
            files = {
                entry: archive.read(entry).decode(errors="replace")
                for entry in sorted(archive.namelist())
                if _is_read(entry) and ("/" not in entry or entry.startswith(tuple(below)))
            }
    except (OSError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{pack} is no CMSIS pack ({error}). Remove it and try again.") from error
    return Library(name, key, str(pack), files)


def freestanding_headers(directory: str, *kinds: str) -> tuple[SourceFile, ...]:
    """What kernels include of a C library ("c") and of CMSIS ("cmsis"), where there is none."""
    root = resources.files("mcuq_lab.baselines.official").joinpath("freestanding")
    texts = [text for kind in kinds for text in root.joinpath(kind).iterdir()]
    return tuple(
        SourceFile(f"{directory}/{text.name}", text.read_text())
        for text in sorted(texts, key=lambda text: text.name)
    )


def release_of(library: Library, description: str) -> str:
    """Newest release that a pack description (.pdsc) in the library's root names; "" if none.

    A description under development calls itself 0.0.0, which says nothing.

    Raises:
        ConfigError: the description is no XML.
    """
    if description not in library.files:
        return ""
    try:
        root = ElementTree.fromstring(library.files[description])
    except ElementTree.ParseError as error:
        raise ConfigError(f"{description} in {library.place} is no XML: {error}.") from error
    release = root.find("./releases/release")
    version = "" if release is None else release.get("version", "")
    return "" if version.startswith("0.0.0") else version


def revision_of(text: str) -> str:
    """What a header says of itself in `$Revision: V.1.2.3`; "" if nothing."""
    match = re.search(r"\$Revision:\s*(?:Release\s*)?[Vv]\.?\s*([\d.]*\d)", text)
    return "" if match is None else match.group(1)
