"""RLQuant: the bilevel search for bit-widths, its rivals, and the process that runs them.

Upper level: a method proposes policies (RLQuant: an RL agent on a surrogate of what was measured so
far). Lower level: SGD on the step sizes of each policy. Every policy ends as a row: generated,
built, flashed and measured.
"""

from mcuq_lab.rlquant.budgets import budgets_kept
from mcuq_lab.rlquant.config import (
    AgentConfig,
    LowerLevelConfig,
    ProposalConfig,
    SearchConfig,
    quick_config,
)
from mcuq_lab.rlquant.curve import hypervolume_frame, kept_objectives
from mcuq_lab.rlquant.evaluation import Evaluator
from mcuq_lab.rlquant.methods import METHODS
from mcuq_lab.rlquant.process import attach, is_running, resume, start, stop
from mcuq_lab.rlquant.progress import Progress
from mcuq_lab.rlquant.reference import float_accuracy_of, layer_names_of, reference_of
from mcuq_lab.rlquant.search import new_run, prolong, run_search

__all__ = [
    "METHODS",
    "AgentConfig",
    "Evaluator",
    "LowerLevelConfig",
    "Progress",
    "ProposalConfig",
    "SearchConfig",
    "attach",
    "budgets_kept",
    "float_accuracy_of",
    "hypervolume_frame",
    "is_running",
    "kept_objectives",
    "layer_names_of",
    "new_run",
    "prolong",
    "quick_config",
    "reference_of",
    "resume",
    "run_search",
    "start",
    "stop",
]
