"""The Cortex-M7 model ranks alternative schedules as measurements do."""

import pytest

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
