"""The Cortex-M7 model ranks alternative schedules as measurements do."""

import pytest

from mcuq_lab.nucleosim.timing.benchmark import benchmark_rows
from mcuq_lab.nucleosim.timing.cortex_m7 import CortexM7
from mcuq_lab.nucleosim.timing.rankings import Ranking, load_rankings


@pytest.mark.parametrize("ranking", load_rankings(), ids=lambda ranking: ranking.rule)
def test_the_faster_schedule_is_faster(ranking: Ranking) -> None:
    faster, slower = ranking.modelled
    assert faster < slower, ranking.source


def test_butterflies_gain_about_what_the_transform_gained() -> None:
    """eprint 2025/366: 1.97 times for ML-DSA's transform, 1.69 for ML-KEM's."""
    (butterflies,) = (r for r in load_rankings() if "butterflies" in r.rule)
    faster, slower = butterflies.modelled
    assert 1.6 < slower / faster < 2.1


def test_stated_uncertainty_is_that_of_the_tables() -> None:
    rows = benchmark_rows(["cortex-m7"])
    met = sum(row.modelled_cycles == row.expected_cycles for row in rows)
    rankings = load_rankings()
    ranked = sum(faster < slower for faster, slower in (r.modelled for r in rankings))
    assert f"{met} of {len(rows)} published sequences" in CortexM7.uncertainty
    assert f"{ranked} of {len(rankings)} pairs" in CortexM7.uncertainty
