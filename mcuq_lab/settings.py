"""What this computer has: where a user's data sets and compiler lie.

Read from `mcuq.toml` in the working directory, or else from `~/.config/mcuq/mcuq.toml`:

    [data]
    cifar10 = "/data/cifar10"          # parquet files, or torchvision's folder

    [toolchain]
    gcc = "/opt/arm/bin/arm-none-eabi-gcc"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from mcuq_lab.errors import ConfigError

FILE_NAME = "mcuq.toml"


@dataclass(frozen=True)
class Settings:
    """Paths of this computer. `data_roots` by data set; `gcc` None: look on PATH."""

    data_roots: Mapping[str, Path] = field(default_factory=dict)
    gcc: Path | None = None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _ToolchainModel(_Model):
    gcc: Path | None = None


class _SettingsModel(_Model):
    data: dict[str, Path] = {}
    toolchain: _ToolchainModel = _ToolchainModel()


def load_settings(directory: Path | None = None, home: Path | None = None) -> Settings:
    """The nearest settings file, or empty settings where there is none.

    Relative paths in it start at the file's own directory.

    Raises:
        ConfigError: the file is no TOML, or has an unknown or wrong entry.
    """
    candidates = (
        (directory or Path.cwd()) / FILE_NAME,
        (home or Path.home()) / ".config" / "mcuq" / FILE_NAME,
    )
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        return Settings()
    try:
        model = _SettingsModel.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path} is not a valid settings file: {error}") from error
    roots = {name: path.parent / root.expanduser() for name, root in model.data.items()}
    gcc = model.toolchain.gcc
    return Settings(roots, None if gcc is None else path.parent / gcc.expanduser())
