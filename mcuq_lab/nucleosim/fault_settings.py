"""Faults that are written down: the session option `nucleosim.faults`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from mcuq_lab.nucleosim.errors import FaultsError
from mcuq_lab.nucleosim.faults import Faults

FILE_SUFFIX = ".toml"

_FLAGS = {field.name for field in fields(Faults) if field.type == "bool"}
_NAMES = [field.name for field in fields(Faults)]


def faults_from_setting(setting: str | Mapping[str, Any], directory: Path) -> Faults:
    """The faults that a setting describes.

    Args:
        setting: path of a TOML file, which ends in `.toml`; or settings in one line with commas
            between them, such as `hang_at_cycle=100000, swd_wait_after=20`, values as in TOML; or a
            mapping, as a YAML file may hold.
        directory: where a relative path starts.

    Raises:
        FaultsError: no such file, no TOML, an unknown fault, or a value of the wrong kind.
    """
    if isinstance(setting, Mapping):
        return _faults(setting, "the setting")
    text = setting.strip()
    if text.endswith(FILE_SUFFIX):
        path = directory / Path(text).expanduser()
        try:
            return _faults(_parse(path.read_text(encoding="utf-8"), str(path)), str(path))
        except OSError as error:
            raise FaultsError(
                f"faults: cannot read {path}: {error.strerror}. Give the path of a TOML file, or "
                "faults themselves, such as 'hang_at_cycle=100000'."
            ) from error
    return _faults(_parse(text.replace(",", "\n"), repr(text)), repr(text))


def _parse(text: str, place: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FaultsError(
            f"faults: {place} is not understood: {error}. Write each as name=value, such as "
            "'hang_at_cycle=100000, unplugged=false'."
        ) from error


def _faults(values: Mapping[str, Any], place: str) -> Faults:
    for name, value in values.items():
        if name not in _NAMES:
            raise FaultsError(
                f"faults: {place} has an unknown fault {name!r}; known: {', '.join(_NAMES)}."
            )
        kind, description = (bool, "true or false") if name in _FLAGS else (int, "an integer")
        # Not isinstance: True is an int, too.
        if type(value) is not kind:
            raise FaultsError(f"faults: {name} in {place} must be {description}, not {value!r}.")
    return Faults(**values)
