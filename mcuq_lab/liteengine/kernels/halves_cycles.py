"""Cortex-M4 cycles of a tile of halves, counted from its instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from mcuq_lab.liteengine.kernels.halves_asm import (
    NEXT_PART,
    end_of_part,
    sum_loop,
    tail,
    tile_start,
)
from mcuq_lab.liteengine.kernels.halves_outputs_asm import halves_outputs
from mcuq_lab.liteengine.kernels.halves_tile import HalvesTile

_TAKEN_CYCLES = 2  # of a branch, beyond its own one
_WAITS = 6  # for code: at labels, and where branches are not taken
_PART_WAITS = 3


def tile_cycles(tile: HalvesTile, part_pairs: Sequence[int]) -> int:
    """Of one tile, two words of pixels x four words of channels.

    Args:
        tile: the tile.
        part_pairs: pairs of terms in each part, whole rounds.
    """
    round_cycles, rest, handing_on = _counted(tile)
    rounds = sum(part_pairs) // tile.unroll
    parts = len(part_pairs)
    # The last round of a part does not branch back; a part but the last one branches on.
    loop = rounds * (round_cycles + _TAKEN_CYCLES) - _TAKEN_CYCLES * parts
    return loop + rest + (parts - 1) * (handing_on + _PART_WAITS) + _WAITS


@cache
def _counted(tile: HalvesTile) -> tuple[int, int, int]:
    """Cycles of a round, of all that is outside of rounds, of a part that is not the last one."""
    start = tile_start(tile)
    branch = handing_on = 0
    if tile.parts > 1:
        branch = cycles_of(NEXT_PART)
        handing_on = branch + cycles_of(end_of_part(tile)) + 2 * _TAKEN_CYCLES
        if tile.starts_over:
            handing_on += cycles_of(start[start.index("3:") :])
    outside = [*start, *halves_outputs(tile), *tail(tile)[: 4 - tile.keeps_pointer]]
    outside += ["ldmia r0!, {r4, r5}"] if tile.surplus else []
    outside += [] if tile.keeps_pointer else ["vmov s20, r0"]
    return cycles_of(sum_loop(tile)), cycles_of(outside) + branch + _TAKEN_CYCLES, handing_on


def cycles_of(lines: Sequence[str]) -> int:
    """Of instructions one after the other, no branch taken: one each, a load or several side by
    side one more, a multiple one more than its registers."""
    cycles, loads = 0, False
    for line in lines:
        name = line.split(" ")[0].removesuffix(".w")
        if line.endswith(":") or name == ".p2align":
            continue
        is_load = name == "ldr"
        if name in ("ldmia", "stmia", "push"):
            cycles += 1 + _registers(line)
        else:
            cycles += 1 + (is_load and not loads)
        loads = is_load
    return cycles


def _registers(line: str) -> int:
    """Registers in the list of a multiple."""
    (listed,) = re.findall(r"{(.*)}", line)
    count = 0
    for name in listed.split(", "):
        first, _, last = name.partition("-")
        count += int(last[1:]) - int(first[1:]) + 1 if last else 1
    return count
