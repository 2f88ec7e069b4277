"""Where the cycles of a firmware go, by function, basic block, instruction, and cause.

    with profiled(board, "firmware.elf") as profile:
        ...  # flash, reset, run, as ever
    profile.functions()

Not imported by `mcuq_lab.nucleosim` itself: tables are pandas DataFrames, figures matplotlib's.
"""

from mcuq_lab.nucleosim.profile.figures import causes_figure, flame_figure
from mcuq_lab.nucleosim.profile.profile import Profile, profiled
from mcuq_lab.nucleosim.profile.tables import CAUSE_COLUMNS, OUTSIDE

__all__ = [
    "CAUSE_COLUMNS",
    "OUTSIDE",
    "Profile",
    "causes_figure",
    "flame_figure",
    "profiled",
]
