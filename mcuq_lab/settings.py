"""What this computer has: where a user's data sets and compiler lie, how its simulated boards fail.

Read from `mcuq.toml` in the working directory or the nearest folder above it (notebooks work below
the project's), or else from `~/.config/mcuq/mcuq.toml`:

    [data]
    cifar10 = "/data/cifar10"          # parquet files, or torchvision's folder

    [toolchain]
    gcc = "/opt/arm/bin/arm-none-eabi-gcc"

    [libraries]                        # official libraries, beside their re-implementations
    cmsis_nn = "pack"                  # ARM's CMSIS pack; or a folder with Include and Source
    cmix_nn = "/opt/CMix-NN"
    tinyengine = "/opt/tinyengine"

    [simulator]
    faults = "hang_at_cycle=50000000"  # or a TOML file; `nucleosim/README.md` lists them
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mcuq_lab.errors import ConfigError

FILE_NAME = "mcuq.toml"
CMSIS_NN_PACK = "7.0.0"
"""Version of ARM's pack where the user names none."""


@dataclass(frozen=True)
class LibrarySettings:
    """Where the official libraries are.

    Attributes:
        folders: by key, those that lie in a folder.
        cmsis_nn_pack: version of ARM's CMSIS-NN pack that is wanted; "": no pack is.
        cmsis_nn_sha256: digest that the pack must have; "": the one that it had at first use.
    """

    folders: Mapping[str, Path] = field(default_factory=dict)
    cmsis_nn_pack: str = ""
    cmsis_nn_sha256: str = ""


@dataclass(frozen=True)
class Settings:
    """What this computer has.

    Attributes:
        data_roots: by data set.
        gcc: the compiler; None: look on PATH.
        simulator_faults: what goes wrong with simulated boards each time one is opened, so that a
            user can see how a search copes; "": nothing.
        libraries: official libraries by key, as `mcuq_lab.libraries` reads them.
    """

    data_roots: Mapping[str, Path] = field(default_factory=dict)
    gcc: Path | None = None
    simulator_faults: str = ""
    libraries: LibrarySettings = field(default_factory=LibrarySettings)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _ToolchainModel(_Model):
    gcc: Path | None = None


class _SimulatorModel(_Model):
    faults: str = ""


class _LibrariesModel(_Model):
    cmsis_nn: str = ""
    cmsis_nn_sha256: str = ""
    cmix_nn: Path | None = None
    tinyengine: Path | None = None

    def settings(self, directory: Path) -> LibrarySettings:
        pack = ""
        folders = {}
        if re.fullmatch(r"pack( [\w.]+)?", self.cmsis_nn):
            pack = self.cmsis_nn.removeprefix("pack").strip() or CMSIS_NN_PACK
        elif self.cmsis_nn:
            folders["cmsis_nn"] = directory / Path(self.cmsis_nn).expanduser()
        for key, folder in (("cmix_nn", self.cmix_nn), ("tinyengine", self.tinyengine)):
            if folder is not None:
                folders[key] = directory / folder.expanduser()
        return LibrarySettings(folders, pack, self.cmsis_nn_sha256)


class _SettingsModel(_Model):
    data: dict[str, Path] = {}
    toolchain: _ToolchainModel = _ToolchainModel()
    simulator: _SimulatorModel = _SimulatorModel()
    libraries: _LibrariesModel = _LibrariesModel()


def load_settings(directory: Path | None = None, home: Path | None = None) -> Settings:
    """The nearest settings file, or empty settings where there is none.

    Relative paths in it start at the file's own directory.

    Raises:
        ConfigError: the file is no TOML, or has an unknown or wrong entry.
    """
    directory = (directory or Path.cwd()).absolute()
    folders = (directory, *directory.parents, (home or Path.home()) / ".config" / "mcuq")
    candidates = (folder / FILE_NAME for folder in folders)
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return Settings()
    try:
        model = _SettingsModel.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path} is not a valid settings file: {error}") from error
    roots = {name: path.parent / root.expanduser() for name, root in model.data.items()}
    gcc = model.toolchain.gcc
    faults = model.simulator.faults
    if faults.endswith(".toml"):
        faults = str(path.parent / Path(faults).expanduser())
    return Settings(
        roots,
        None if gcc is None else path.parent / gcc.expanduser(),
        faults,
        model.libraries.settings(path.parent),
    )
