"""The board in the loop: C sources in; outputs, cycles and bytes of a board out.

    firmware = build(sources, board)
    with open_board(board) as session:
        output = session.run(firmware, inputs)

`run_on_host` runs the same sources on this computer, under the sanitizers. What needs pyOCD is
loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module

from mcuq_lab.bench.firmware import Firmware, build
from mcuq_lab.bench.host import build_for_host, run_on_host, run_program
from mcuq_lab.bench.memory_map import MemoryMap, memory_map
from mcuq_lab.bench.toolchain import BuildFlags, Toolchain, find_host_compiler, find_toolchain
from mcuq_lab.content_cache import ContentCache, user_cache

_WITH_PYOCD = {
    "BoardSession": "session",
    "FlashReport": "flash",
    "ProbeInfo": "probe",
    "RunReport": "session",
    "erase_count": "flash",
    "find_probes": "probe",
    "is_of": "probe",
    "open_board": "session",
    "uids_of_boards": "probe",
}

__all__ = [
    "BoardSession",
    "BuildFlags",
    "ContentCache",
    "Firmware",
    "FlashReport",
    "MemoryMap",
    "ProbeInfo",
    "RunReport",
    "Toolchain",
    "build",
    "build_for_host",
    "erase_count",
    "find_host_compiler",
    "find_probes",
    "find_toolchain",
    "is_of",
    "memory_map",
    "open_board",
    "run_on_host",
    "run_program",
    "uids_of_boards",
    "user_cache",
]


def __getattr__(name: str):
    if name in _WITH_PYOCD:
        return getattr(import_module(f"{__name__}.{_WITH_PYOCD[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
