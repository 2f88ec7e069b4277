"""The tree of calls into tables: each path, each pair of caller and callee, totals by function."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from mcuq_lab.nucleosim.engine.calls import CallNode


def path_table(nodes: Sequence[CallNode], function_of: Callable[[int], str]) -> pd.DataFrame:
    """One row for each path of calls, callers before callees: node, parent (-1 for the root),
    depth, function, calls, cycles (its own), inclusive_cycles."""
    inclusive = [node.cycles for node in nodes]
    depths = [0] * len(nodes)
    for index in range(len(nodes) - 1, 0, -1):
        inclusive[nodes[index].parent] += inclusive[index]
    for index in range(1, len(nodes)):
        depths[index] = depths[nodes[index].parent] + 1
    return pd.DataFrame(
        {
            "node": range(len(nodes)),
            "parent": [-1 if node.parent is None else node.parent for node in nodes],
            "depth": depths,
            "function": [function_of(node.address) for node in nodes],
            "calls": [node.calls for node in nodes],
            "cycles": [node.cycles for node in nodes],
            "inclusive_cycles": inclusive,
        }
    )


def pair_table(paths: pd.DataFrame) -> pd.DataFrame:
    """One row for each caller and callee: calls, and cycles spent in them, callees included.

    Of a recursion, the outermost calls hold the cycles of those within.
    """
    rows: dict[tuple[str, str], list[int]] = {}
    above: list[frozenset[tuple[str, str]]] = []
    functions = paths["function"].tolist()
    for row in paths.itertuples():
        if row.parent < 0:
            above.append(frozenset())
            continue
        pair = functions[row.parent], row.function
        total = rows.setdefault(pair, [0, 0])
        total[0] += row.calls
        if pair not in above[row.parent]:
            total[1] += row.inclusive_cycles
        above.append(above[row.parent] | {pair})
    frame = pd.DataFrame(
        [(*pair, *total) for pair, total in rows.items()],
        columns=["caller", "callee", "calls", "inclusive_cycles"],
    )
    return frame.sort_values("inclusive_cycles", ascending=False, kind="stable", ignore_index=True)


def totals_by_function(paths: pd.DataFrame) -> pd.DataFrame:
    """Index function; calls, and inclusive_cycles, in which a recursion counts once."""
    totals: dict[str, list[int]] = {}
    above: list[frozenset[str]] = []
    for row in paths.itertuples():
        callers = frozenset() if row.parent < 0 else above[row.parent]
        total = totals.setdefault(row.function, [0, 0])
        total[0] += row.calls
        if row.function not in callers:
            total[1] += row.inclusive_cycles
        above.append(callers | {row.function})
    return pd.DataFrame.from_dict(totals, orient="index", columns=["calls", "inclusive_cycles"])
