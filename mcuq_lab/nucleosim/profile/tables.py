"""Instructions into tables: of instructions, basic blocks, functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import capstone
import pandas as pd

from mcuq_lab.nucleosim.profile.attribution import Spending, Spent
from mcuq_lab.nucleosim.timing import Cause
from mcuq_lab.nucleosim.timing.decode import decode

CAUSE_COLUMNS = tuple(f"{cause.name.lower()}_cycles" for cause in Cause)
OUTSIDE = "(no instruction)"
"""The function of cycles in which no instruction runs: exception entry and return, sleep."""

_DECODER = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)


def instruction_table(
    spending: Spending, function_of: Callable[[int], str], line_of: Callable[[int], str]
) -> pd.DataFrame:
    """One row for each instruction that ran, in order of address.

    address, size_bytes, function, line, text, branches (whether it may go elsewhere), executions,
    cycles, and the cycles by cause.
    """
    rows = [
        (
            address,
            len(encoding),
            function_of(address),
            line_of(address),
            text_of(address, encoding),
            decode(encoding).writes_pc,
            spent.executions,
            sum(spent.cycles),
            *spent.cycles,
        )
        for (address, encoding), spent in sorted(spending.items(), key=lambda item: item[0])
    ]
    columns = ("address", "size_bytes", "function", "line", "text", "branches", "executions")
    return pd.DataFrame(rows, columns=[*columns, "cycles", *CAUSE_COLUMNS])


def block_table(instructions: pd.DataFrame) -> pd.DataFrame:
    """One row for each basic block that ran, in order of address.

    A block is the longest run of neighbouring instructions of a function, with no branch but at its
    end, that ran equally often. Its line is that of its first instruction.
    """
    frame = instructions
    before = frame.shift()
    starts = (
        (frame["address"] != before["address"] + before["size_bytes"])
        | (frame["function"] != before["function"])
        | (frame["executions"] != before["executions"])
        | before["branches"].eq(True)
    )
    grouped = frame.groupby(starts.cumsum())
    blocks = grouped.agg(
        address=("address", "first"),
        size_bytes=("size_bytes", "sum"),
        function=("function", "first"),
        line=("line", "first"),
        executions=("executions", "first"),
        instructions=("executions", "sum"),
        cycles=("cycles", "sum"),
        **{column: (column, "sum") for column in CAUSE_COLUMNS},
    ).reset_index(drop=True)
    per_execution = blocks["cycles"] / blocks["executions"].where(blocks["executions"] > 0)
    blocks.insert(blocks.columns.get_loc("cycles") + 1, "cycles_per_execution", per_execution)
    return blocks


def function_table(instructions: pd.DataFrame, outside_cycles: int) -> pd.DataFrame:
    """One row for each function that ran: function, instructions, cycles, and these by cause.

    The most expensive come first. A row OUTSIDE, if such cycles passed, makes the sum complete.
    """
    totals = instructions.groupby("function", as_index=False, sort=False).agg(
        instructions=("executions", "sum"),
        cycles=("cycles", "sum"),
        **{column: (column, "sum") for column in CAUSE_COLUMNS},
    )
    if outside_cycles:
        row = dict.fromkeys(totals.columns, 0) | {"function": OUTSIDE, "cycles": outside_cycles}
        totals = pd.concat([totals, pd.DataFrame([row])], ignore_index=True)
    return totals.sort_values("cycles", ascending=False, kind="stable", ignore_index=True)


def listing(
    pieces: tuple[tuple[int, bytes], ...],
    spending: Spending,
    line_of: Callable[[int], str],
) -> pd.DataFrame:
    """Annotated disassembly: each instruction of some code, those that never ran with zeros."""
    rows = []
    for start, code in pieces:
        for address, encoding in _split(start, code):
            spent = spending.get((address, encoding), Spent())
            cycles = sum(spent.cycles)
            text = text_of(address, encoding)
            rows.append((address, line_of(address), text, spent.executions, cycles, *spent.cycles))
    columns = ("address", "line", "text", "executions", "cycles", *CAUSE_COLUMNS)
    return pd.DataFrame(rows, columns=list(columns))


def _split(start: int, code: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(code):
        size = 4 if code[offset + 1 : offset + 2] >= b"\xe8" else 2
        yield start + offset, code[offset : offset + size]
        offset += size


def text_of(address: int, encoding: bytes) -> str:
    """An instruction in assembly language; what does not decode, as data."""
    for _, _, name, operands in _DECODER.disasm_lite(encoding, address, 1):
        return f"{name} {operands}".rstrip()
    return f".inst {encoding[::-1].hex()}"
