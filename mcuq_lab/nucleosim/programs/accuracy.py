"""How far the modelled cycles are from the published ones, by class of code."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import mean

from mcuq_lab.nucleosim.programs.run import ProgramRow


@dataclass(frozen=True)
class Accuracy:
    """Deviations of one core's programs of one kind, as parts of the published cycles."""

    core: str
    kind: str
    programs: int
    mean: float
    """Signed: below zero where the model counts too few."""
    mean_absolute: float
    largest: float
    """Signed, of the program that is furthest off."""

    def __str__(self) -> str:
        programs = "program" if self.programs == 1 else "programs"
        return (
            f"{self.programs} {programs}, deviation {100 * self.mean_absolute:.1f} % in the mean "
            f"and {100 * self.largest:+.1f} % at most"
        )


def accuracies(rows: Iterable[ProgramRow]) -> tuple[Accuracy, ...]:
    """One for each core and kind of code that there are rows of, in their order."""
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        groups.setdefault((row.core, row.kind), []).append(row.deviation)
    return tuple(
        Accuracy(
            core,
            kind,
            programs=len(deviations),
            mean=mean(deviations),
            mean_absolute=mean(map(abs, deviations)),
            largest=max(deviations, key=abs),
        )
        for (core, kind), deviations in groups.items()
    )
