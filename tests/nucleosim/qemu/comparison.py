"""Finds what two runs of an image disagree on, shrinks it, and says it in assembly."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.nucleosim.qemu import layout
from tests.nucleosim.qemu.case import Case
from tests.nucleosim.qemu.image import Image, build_image

Run = Callable[[Image], bytes]
"""Gives the RAM that an image leaves."""

_NAMES = (
    *(f"r{number}" for number in range(13)),
    *("sp", "lr", "APSR"),
    *(f"s{number}" for number in range(layout.FP_REGISTERS)),
    *("FPSCR", "unused"),
    *(f"window+{4 * index}" for index in range(layout.WINDOW_BYTES // 4)),
)


def differing_cases(first: bytes, second: bytes) -> list[int]:
    """Indices of the cases whose records differ between two RAMs."""
    assert len(first) == len(second)
    count = (len(first) - layout.HEADER_BYTES) // layout.RECORD_BYTES
    return [i for i in range(count) if _record(first, i) != _record(second, i)]


def shrink(core: str, case: Case, runs: tuple[Run, Run], directory: Path) -> Case:
    """The case with as few units as still make a difference; itself if it makes none alone."""
    while True:
        image = build_image(core, list(_smaller(case)), directory)
        differing = differing_cases(*(run(image) for run in runs)) if image.cases else []
        if not differing:
            return case
        case = image.cases[differing[0]]


def _smaller(case: Case) -> Iterable[Case]:
    """A case without some of its units, the shortest first."""
    count = len(case.units)
    for kept in sorted({1, 2, count // 2, count - 1} - {0, count}):
        if kept == count - 1:
            yield from (case.without(index, 1) for index in range(count))
        else:
            for first in range(count - kept + 1):
                yield case.without(first + kept, count).without(0, first)


def explain(
    core: str, case: Case, runs: tuple[Run, Run], names: tuple[str, str], directory: Path
) -> str:
    """The sequence, its inputs, and where both results differ from each other."""
    image = build_image(core, [case], directory)
    inputs = case.words(layout.window_address(0))
    results = [_record(run(image), 0) for run in runs]
    lines = [f"{names[0]} and {names[1]} differ for a {core} after:"]
    lines.append(case.text)
    lines += [f"{'':>12} {'before':>10}" + "".join(f" {name:>10}" for name in names)]
    for name, *values in zip(_NAMES, inputs, *results, strict=True):
        if values[0] == values[1] == values[2] and name.startswith("window"):
            continue
        mark = "" if values[1] == values[2] else "  <--"
        lines.append(f"{name:>12}" + "".join(f" {value:#010x}" for value in values) + mark)
    return "\n".join(lines)


def _record(ram: bytes, index: int) -> tuple[int, ...]:
    at = layout.HEADER_BYTES + index * layout.RECORD_BYTES
    return struct.unpack_from(f"<{layout.RECORD_BYTES // 4}I", ram, at)
