"""Pairs of schedules of which a measurement says which is faster: a model must rank them so."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mcuq_lab.nucleosim.timing.benchmark import TimedSequence, modelled_cycles


@dataclass(frozen=True)
class Ranking:
    """One pair; the absolute counts are not published."""

    rule: str
    source: str
    faster: TimedSequence
    slower: TimedSequence

    @property
    def modelled(self) -> tuple[int, int]:
        """Cycles of the faster and of the slower one."""
        return modelled_cycles(self.faster), modelled_cycles(self.slower)


@cache
def load_rankings(core: str = "cortex-m7") -> tuple[Ranking, ...]:
    """The committed pairs of a core."""
    name = f"{core.replace('-', '_')}_rankings.toml"
    table = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return tuple(_ranking(core, **row) for row in tomllib.loads(table)["ranking"])


def _ranking(core: str, rule: str, kind: str, source: str, faster: dict, slower: dict) -> Ranking:
    def sequence(asm: str, code: str, address: int = 0) -> TimedSequence:
        code_bytes = bytes.fromhex(code)
        return TimedSequence(core, rule, kind, asm, code_bytes, 0, source, address=address)

    return Ranking(rule, source, sequence(**faster), sequence(**slower))
