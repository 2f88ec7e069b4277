"""Whether a source of candidates earns its share of the evaluations.

Early, when the surrogate knows little, candidates of another kind teach it something. Late, each of
them may cost an evaluation that others would have used better. What came of it so far tells which.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcuq_lab.results import ReferencePoint, Row, hypervolume_contributions, objectives

_FEWEST = 3
"""Of fewer rows nothing can be said, and the source is given the benefit of the doubt."""
_LEAST_PART = 0.5
"""Of what the others' rows hold of the hypervolume in the mean."""


def earns_its_share(
    rows: Sequence[Row], origin: str, rivals: Sequence[str], n: int, reference: ReferencePoint
) -> bool:
    """Whether the rows of `origin` among the last `n` hold, in the mean, at least half as much of
    the hypervolume alone as those of the rivals.

    Rows leave the last `n` after a while, so that a source that rested is tried again.

    Args:
        rows: all that succeeded and keep the budgets, in their order.
    """
    shares = hypervolume_contributions(objectives(rows), reference)[-n:]
    origins = np.array([row.origin for row in rows[-n:]])
    own, others = shares[origins == origin], shares[np.isin(origins, rivals)]
    if len(own) < _FEWEST or not len(others):
        return True
    return bool(own.mean() >= _LEAST_PART * others.mean())
