"""The official libraries that this computer has, by the settings: an engine each, where it is one.

They stand beside the re-implementations, and must give the same integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from cmsis_pack_manager import Cache, CmsisPackRef

from mcuq_lab.baselines import cmix_nn, cmsis_nn, tinyengine
from mcuq_lab.baselines.official import (
    Library,
    find_pack,
    library_in_folder,
    library_in_pack,
)
from mcuq_lab.baselines.official import cmix_nn as official_cmix_nn
from mcuq_lab.baselines.official import cmsis_nn as official_cmsis_nn
from mcuq_lab.baselines.official import tinyengine as official_tinyengine
from mcuq_lab.bench import run_program
from mcuq_lab.errors import ConfigError
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.quantize.reference import compute
from mcuq_lab.settings import LibrarySettings, load_settings
from mcuq_lab.sources import SourceFile, Sources

Run = Callable[[tuple[SourceFile, ...]], str]


@dataclass(frozen=True)
class Official:
    """How MCUQ uses one official library.

    Attributes:
        engine: its name as an engine.
        key: its entry under [libraries] in mcuq.toml.
        name: as its makers write it.
        folders: where its sources lie below its root.
        policies: the uniform policies that it supports.
        version: of a library that was found; raises ConfigError if it is not as expected.
        generate: (network, library, how to run a program on this computer) -> Sources.
        reference: the very integers that it must give; see `engines.Engine`.
        run: the same integers, quickly for thousands of inputs.
    """

    engine: str
    key: str
    name: str
    folders: tuple[str, ...]
    policies: tuple[str, ...]
    version: Callable[[Library], str]
    generate: Callable[[QuantGraph, Library, Run], Sources]
    reference: Callable[[QuantGraph, np.ndarray], np.ndarray]
    run: Callable[[QuantGraph, np.ndarray], np.ndarray]


def _cmix_nn_reference(network: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    computed = official_cmix_nn.as_computed(network)
    values = {network.input_name: inputs}
    for op in computed.ops:
        sources = tuple(network.tensors[name] for name in op.inputs)
        values[op.output] = compute(op, sources, tuple(values[name] for name in op.inputs))
    return values[network.output_name]


def _run_cmix_nn(network: QuantGraph, inputs: np.ndarray) -> np.ndarray:
    from mcuq_lab.quantize import run_unchecked  # torch with it, takes seconds

    return run_unchecked(official_cmix_nn.as_computed(network), inputs)


OFFICIAL = {
    official.engine: official
    for official in (
        Official(
            official_cmsis_nn.ENGINE_NAME,
            "cmsis_nn",
            official_cmsis_nn.NAME,
            official_cmsis_nn.FOLDERS,
            tuple(f"w{w}a8" for w in cmsis_nn.WEIGHT_BITS),
            official_cmsis_nn.version_of,
            official_cmsis_nn.generate,
            cmsis_nn.run_reference,
            cmsis_nn.run_integers,
        ),
        Official(
            official_cmix_nn.ENGINE_NAME,
            "cmix_nn",
            official_cmix_nn.NAME,
            official_cmix_nn.FOLDERS,
            tuple(f"w{w}a{a}" for w in cmix_nn.WIDTHS for a in cmix_nn.WIDTHS),
            official_cmix_nn.version_of,
            lambda network, library, run: official_cmix_nn.generate(network, library),
            _cmix_nn_reference,
            _run_cmix_nn,
        ),
        Official(
            official_tinyengine.ENGINE_NAME,
            "tinyengine",
            official_tinyengine.NAME,
            official_tinyengine.FOLDERS,
            ("w8a8",),
            official_tinyengine.version_of,
            lambda network, library, run: official_tinyengine.generate(network, library),
            tinyengine.run_reference,
            tinyengine.run_integers,
        ),
    )
}


def is_named(official: Official, settings: LibrarySettings | None = None) -> bool:
    """Whether the user's settings name this library."""
    settings = load_settings().libraries if settings is None else settings
    return official.key in settings.folders or bool(_pack(official, settings))


def find_library(
    official: Official, settings: LibrarySettings | None = None, *, fetch: bool = True
) -> Library:
    """The library where the settings say that it is; its CMSIS pack is fetched if need be.

    Raises:
        ConfigError: they do not name it, or it is not there (and not to be fetched).
    """
    settings = load_settings().libraries if settings is None else settings
    version = _pack(official, settings)
    if version:
        reference = CmsisPackRef(*official_cmsis_nn.PACK, version)
        digests = platformdirs.user_data_path("mcuq") / "packs"
        sha256 = settings.cmsis_nn_sha256
        pack = find_pack(Cache(True, False), reference, digests, sha256, fetch=fetch)
        return library_in_pack(official.name, official.key, pack, official.folders)
    if official.key not in settings.folders:
        raise ConfigError(
            f"{official.engine} runs the official {official.name}, which mcuq.toml does not name. "
            f'Add under [libraries]: {official.key} = "folder of its sources"'
            + (', or "pack" for ARM\'s CMSIS pack.' if official.key == "cmsis_nn" else ".")
        )
    folder = Path(settings.folders[official.key])
    return library_in_folder(official.name, official.key, folder, official.folders)


def label_of(official: Official) -> str:
    """As figures name it: with its version, where the library is at hand without a download."""
    try:
        version = official.version(find_library(official, fetch=False))
    except ConfigError:
        version = ""
    return " ".join(part for part in (official.name, version, "(official library)") if part)


def generate_official(official: Official, network: QuantGraph) -> Sources:
    """C of a network on the library; raises ConfigError where it is missing or not as expected."""
    return official.generate(network, find_library(official), run_program)


def _pack(official: Official, settings: LibrarySettings) -> str:
    return settings.cmsis_nn_pack if official.key == "cmsis_nn" else ""
