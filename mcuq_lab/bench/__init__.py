"""The board in the loop: C sources in; outputs, cycles and bytes of a board out.

    firmware = build(sources, board)
    with open_board(board) as session:
        output = session.run(firmware, inputs)

`run_on_host` runs the same sources on this computer, under the sanitizers.
"""

from mcuq_lab.bench.cache import ContentCache, user_cache
from mcuq_lab.bench.firmware import Firmware, build
from mcuq_lab.bench.flash import FlashReport, erase_count
from mcuq_lab.bench.host import build_for_host, run_on_host, run_program
from mcuq_lab.bench.memory_map import MemoryMap, memory_map
from mcuq_lab.bench.probe import ProbeInfo, find_probes, is_of, uids_of_boards
from mcuq_lab.bench.session import BoardSession, RunReport, open_board
from mcuq_lab.bench.toolchain import BuildFlags, Toolchain, find_host_compiler, find_toolchain

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
