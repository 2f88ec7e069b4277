"""Simulated STM32 Nucleo boards behind a pyOCD debug probe.

With the package installed, pyOCD finds a probe for each board: `pyocd list`, `pyocd flash`,
`pyocd gdbserver` and pyOCD's Python API work as they do with a real board. Nothing here depends on
the rest of `mcuq_lab`. See README.md in this directory.
"""

from mcuq_lab.nucleosim.errors import FaultsError, NucleoSimError, UnknownBoardError
from mcuq_lab.nucleosim.faults import Faults
from mcuq_lab.nucleosim.registry import discard_board, known_ids, simulated_board
from mcuq_lab.nucleosim.session_time import SessionSeconds

__version__ = "0.1.0"

__all__ = [
    "Faults",
    "FaultsError",
    "NucleoSimError",
    "SessionSeconds",
    "UnknownBoardError",
    "discard_board",
    "known_ids",
    "simulated_board",
]
