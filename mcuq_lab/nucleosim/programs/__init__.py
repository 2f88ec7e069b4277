"""Whole programs with published cycle counts, run on the simulated boards.

The rows of `program_rows` say what a program took on silicon and what it takes here. The programs
were written for this package, from the algorithms and from what is said of the measured code; how
near they are to that code is said in each row. Outputs are checked at each run.
"""

from mcuq_lab.nucleosim.programs.accuracy import Accuracy, accuracies
from mcuq_lab.nucleosim.programs.run import ProgramRow, program_rows

__all__ = ["Accuracy", "ProgramRow", "accuracies", "program_rows"]
