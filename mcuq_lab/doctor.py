"""Checks of the bench: what is there, what is missing, and how to mend it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mcuq_lab.bench import ProbeInfo, find_probes, find_toolchain
from mcuq_lab.board import board_ids, load_board
from mcuq_lab.errors import McuqError
from mcuq_lab.libraries import OFFICIAL, Official, find_library, is_named
from mcuq_lab.models import ZOO, load_provenance

UDEV_RULES = Path("/etc/udev/rules.d")


@dataclass(frozen=True)
class Check:
    """One finding; `fix` says what to type when `ok` is false."""

    check: str
    ok: bool
    detail: str
    fix: str = ""


def examine() -> list[Check]:
    """All checks, none of which changes anything."""
    return [
        _python(),
        *(_package(name) for name in ("torch", "ray", "pyocd", "unicorn", "jupyterlab")),
        _toolchain(),
        *(_library(official) for official in OFFICIAL.values()),
        *(_board(board_id) for board_id in board_ids()),
        _simulated_probe(),
        _real_probe(),
        _udev(),
        _checkpoints(),
    ]


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, platform.python_version(), "" if ok else "use Python 3.11 or newer")


def _package(name: str) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, False, "not installed", "make setup")
    return Check(name, True, found)


def _toolchain() -> Check:
    try:
        toolchain = find_toolchain()
    except McuqError as error:
        return Check("toolchain", False, str(error), "sudo apt-get install gcc-arm-none-eabi")
    return Check("toolchain", True, f"{toolchain.version} at {toolchain.path}")


def _library(official: Official) -> Check:
    name = f"library {official.key}"
    try:
        if not is_named(official):
            return Check(name, True, "not named in mcuq.toml; its re-implementation is used")
        library = find_library(official, fetch=False)
        version = official.version(library)
    except McuqError as error:
        return Check(name, False, str(error), "correct [libraries] in mcuq.toml")
    return Check(name, True, f"{official.name} {version} in {library.place}: {official.engine}")


def _board(board_id: str) -> Check:
    try:
        board = load_board(board_id)
    except McuqError as error:
        return Check(f"board {board_id}", False, str(error), f"mend boards/{board_id}/board.toml")
    return Check(f"board {board_id}", True, f"{board.name}, {board.core}")


def _simulated_probe() -> Check:
    uids = [probe.uid for probe in _probes() if probe.simulated]
    if not uids:
        return Check("simulated board", False, "pyOCD does not list it", "make setup")
    return Check("simulated board", True, ", ".join(uids))


def _real_probe() -> Check:
    uids = [probe.uid for probe in _probes() if not probe.simulated]
    if not uids:
        return Check("debug probe", True, "none is connected; the simulated board is used instead")
    return Check("debug probe", True, ", ".join(uids))


def _probes() -> tuple[ProbeInfo, ...]:
    try:
        return find_probes()
    except McuqError:
        return ()


def _udev() -> Check:
    if platform.system() != "Linux":
        return Check("usb permissions", True, "only Linux needs a rule")
    rules = [path for path in UDEV_RULES.glob("*.rules") if _names_stlink(path)]
    if rules:
        return Check("usb permissions", True, str(rules[0]))
    return Check(
        "usb permissions",
        True,
        "no udev rule names ST-LINK; needed only for a real board",
        'echo \'SUBSYSTEM=="usb", ATTR{idVendor}=="0483", MODE="660", GROUP="plugdev", '
        'TAG+="uaccess"\' | sudo tee /etc/udev/rules.d/70-st-link.rules '
        "&& sudo udevadm control --reload && sudo udevadm trigger",
    )


def _names_stlink(path: Path) -> bool:
    try:
        return "0483" in path.read_text(errors="replace")
    except OSError:
        return False


def _checkpoints() -> Check:
    found = []
    for model in ZOO:
        for data in ("digits", "cifar10"):
            try:
                provenance = load_provenance(model, data)
            except McuqError:
                continue
            found.append(f"{model}/{data} {100 * provenance.test_accuracy:.1f} %")
    fix = "" if found else "python -m mcuq_lab.models.train --model resnet8 --data digits"
    return Check("checkpoints", bool(found), ", ".join(found) or "none", fix)
