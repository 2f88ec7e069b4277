"""From counts of blocks to instructions: how often each ran, and the cycles it took by cause.

What an instruction costs is what the block up to its end costs, less what the block up to its start
costs. Cycles that the simulator counts by block are shared evenly: those of divisions among the
block's divisions, waits for data among its loads and stores, waits for code among the instructions
that start a line of the flash. A wrong prediction belongs to the branch at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from mcuq_lab.nucleosim.engine.recording import BlockCount
from mcuq_lab.nucleosim.thumb import instruction_size
from mcuq_lab.nucleosim.timing import CAUSES, Cause, TimingModel
from mcuq_lab.nucleosim.timing.cost import NO_CYCLES
from mcuq_lab.nucleosim.timing.decode import decode


@dataclass
class Spent:
    """One instruction's share: executions, and cycles by `Cause`.

    An instruction that its IT skips counts as executed: it goes through the pipeline.
    """

    executions: int = 0
    cycles: list[int] = field(default_factory=lambda: [0] * CAUSES)


Spending = dict[tuple[int, bytes], Spent]
"""By address and encoding: memory may hold other code later."""


def attribute(counts: Iterable[BlockCount], timing: TimingModel) -> Spending:
    """What each instruction spent. Executions and cycles add up to those of the machine."""
    spending: Spending = {}
    for count in counts:
        _add(spending, count, timing)
    return spending


def _add(spending: Spending, count: BlockCount, timing: TimingModel) -> None:
    block, code = count.block, count.code
    bounds = list(_bounds(code))
    ran = count.count_fallthrough + count.count_taken
    whole = [
        spending.setdefault((block.address + start, code[start:end]), Spent())
        for start, end in bounds
    ]
    if ran:
        before = NO_CYCLES
        for (_, end), spent in zip(bounds[:-1], whole, strict=False):
            cost = timing.block_cost(block.address, code[:end], block.state, block.places)
            _charge(spent, before, cost.causes_fallthrough, ran)
            before = cost.causes_fallthrough
        cost = timing.block_cost(block.address, code, block.state, block.places)
        _charge(whole[-1], before, cost.causes_fallthrough, count.count_fallthrough)
        _charge(whole[-1], before, cost.causes_taken, count.count_taken)
        for spent in whole:
            spent.executions += ran
    decoded = [decode(code[start:end]) for start, end in bounds]
    line = timing.memory.flash_line_bytes
    starts = [
        index == 0 or (block.address + start) // line != (block.address + start - 2) // line
        for index, (start, _) in enumerate(bounds)
    ]
    divisions = [instruction.divide is not None for instruction in decoded]
    accesses = [instruction.access is not None for instruction in decoded]
    _share(whole, divisions, Cause.EXECUTE, count.extra_divide_cycles)
    _share(whole, accesses, Cause.DATA_WAIT, count.extra_data_cycles)
    _share(whole, starts, Cause.CODE_WAIT, count.extra_code_cycles)
    whole[-1].cycles[Cause.BRANCH] += count.extra_branch_cycles


def _bounds(code: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(code):
        end = min(start + instruction_size(code[start : start + 2]), len(code))
        yield start, end
        start = end


def _charge(spent: Spent, before: tuple[int, ...], after: tuple[int, ...], times: int) -> None:
    for cause in range(CAUSES):
        spent.cycles[cause] += times * (after[cause] - before[cause])


def _share(whole: list[Spent], takes: list[bool], cause: Cause, cycles: int) -> None:
    """Share cycles among the instructions that take some; the first one takes what is left."""
    if not cycles:
        return
    among = [spent for spent, taken in zip(whole, takes, strict=True) if taken] or whole
    each, left = divmod(cycles, len(among))
    for spent in among:
        spent.cycles[cause] += each
    among[0].cycles[cause] += left
