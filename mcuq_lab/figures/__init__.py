"""DataFrame in, matplotlib Figure out: no files, no computation of results.

A figure always says whether its rows come from a simulated or a real board.
"""

from mcuq_lab.figures.bars import memory_figure, speedup_figure
from mcuq_lab.figures.claims import claimed_memory_figure, claimed_speed_figure
from mcuq_lab.figures.layers import arena_figure, layer_figure
from mcuq_lab.figures.networks import networks_figure
from mcuq_lab.figures.packing import packing_figure, packing_limit_figure
from mcuq_lab.figures.pareto import pareto_figure
from mcuq_lab.figures.published import published_figure
from mcuq_lab.figures.search import hypervolume_figure, policy_figure

__all__ = [
    "arena_figure",
    "claimed_memory_figure",
    "claimed_speed_figure",
    "hypervolume_figure",
    "layer_figure",
    "memory_figure",
    "networks_figure",
    "packing_figure",
    "packing_limit_figure",
    "pareto_figure",
    "policy_figure",
    "published_figure",
    "speedup_figure",
]
