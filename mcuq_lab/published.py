"""Numbers that others have published, with their sources: the poster's claims, MLPerf's results.

They are data (`published.toml`), and never enter a ratio with cycles measured here.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("published.toml")


@dataclass(frozen=True)
class Span:
    """The lowest and the highest of the factors that a claim names."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}x"


@dataclass(frozen=True)
class PosterClaims:
    """What the poster says of LiteEngine against `engines` on `networks` CNNs.

    `speed` is by how many times fewer cycles it needs, `memory` by how many times less memory; the
    accuracy is kept.
    """

    source: str
    engines: tuple[str, ...]
    networks: int
    speed: Span
    memory: Span


@dataclass(frozen=True)
class PublishedLatency:
    """One inference of a network on a real board, as its submitters measured it."""

    board: str
    core: str
    clock_mhz: int
    stack: str
    round: str
    latency_ms: float

    @property
    def cycles(self) -> int:
        """Of the core clock, flash wait states included."""
        return int(self.latency_ms * self.clock_mhz * 1e3 + 0.5)


@dataclass(frozen=True)
class PublishedLatencies:
    """Results of one network, their source, and what to bear in mind when comparing."""

    source: str
    caveat: str
    network: str
    results: tuple[PublishedLatency, ...]


@functools.cache
def poster_claims() -> PosterClaims:
    found = _read()["poster"]
    spans = {name: Span(*found.pop(name)) for name in ("speed", "memory")}
    return PosterClaims(engines=tuple(found.pop("engines")), **found, **spans)


@functools.cache
def mlperf_tiny() -> PublishedLatencies:
    """ResNet-8 of MLPerf Tiny's closed division on STM32 boards."""
    found = _read()["mlperf_tiny"]
    results = tuple(PublishedLatency(**row) for row in found.pop("results"))
    return PublishedLatencies(results=results, **found)


def _read() -> dict:
    return tomllib.loads(FILE.read_text())
