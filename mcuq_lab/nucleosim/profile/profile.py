"""A profile of a simulated board: everything that it did between start and stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import Chip
from mcuq_lab.nucleosim.engine.recording import Recording
from mcuq_lab.nucleosim.profile import call_tables, tables
from mcuq_lab.nucleosim.profile.attribution import Spending, attribute
from mcuq_lab.nucleosim.profile.symbols import Symbols


@contextmanager
def profiled(board: SimulatedBoard, elf: Path | str | bytes | None = None) -> Iterator[Profile]:
    """Profile what a board does in the `with` block, however it is run: whole, sliced, stepped.

    `elf`, a file's name or what is in it, gives functions and source lines their names, and tells
    jumps into functions from others. The counts of the machine do not change.

    Raises:
        NucleoSimError: the board is being profiled already, or the file is no ELF file.
    """
    symbols = None if elf is None else Symbols(elf)
    entries = [] if symbols is None else [function.start for function in symbols.functions]
    profile = Profile(board, board.start_recording(entries), symbols)
    try:
        yield profile
    finally:
        profile.finish()
        board.stop_recording()


class Profile:
    """Cycles by function, basic block, instruction and path of calls; made by `profiled`.

    The tables may be asked for inside the `with` block too, and then tell of the time so far.
    Cycles are the simulator's. Columns `<cause>_cycles` split them by `timing.Cause`.

    Attributes:
        board_name, clock_hz, timing_model: where the cycles come from, for a title.
    """

    def __init__(
        self, board: SimulatedBoard, recording: Recording, symbols: Symbols | None
    ) -> None:
        self.board_name = board.chip.name
        self.timing_model = f"{board.timing.name} model, version {board.timing.version}"
        self.clock_hz = board.hclk_hz
        self._board: SimulatedBoard | None = board
        self._chip = board.chip
        self._timing = board.timing
        self._recording = recording
        self._symbols = symbols
        self._last_cycle = board.cycles
        self._spending: Spending | None = None
        self._table: pd.DataFrame | None = None

    def finish(self) -> None:
        """Take in what has been counted last; the profile does not change after it."""
        self._refresh()
        self._board = None

    def _refresh(self) -> None:
        if self._board is not None:
            self._board.bring_recording_up_to_date()
            self.clock_hz = self._board.hclk_hz
            self._last_cycle = self._board.cycles
            self._spending = self._table = None

    def _spent(self) -> Spending:
        self._refresh()
        if self._spending is None:
            self._spending = attribute(self._recording.counts(), self._timing)
        return self._spending

    @property
    def cycles(self) -> int:
        """All cycles from start to stop."""
        self._refresh()
        return self._last_cycle - self._recording.first_cycle

    @property
    def title(self) -> str:
        """Board, that it is simulated, clock, and timing model, in one line."""
        clock = f"{self.clock_hz / 1e6:g} MHz, " if self.clock_hz else ""
        return f"{self.board_name} (simulated), {clock}{self.timing_model}"

    def blocks(self) -> pd.DataFrame:
        """One row for each basic block that ran; see `tables.block_table`."""
        return tables.block_table(self._instructions())

    def functions(self) -> pd.DataFrame:
        """One row for each function that ran, the most expensive first.

        function, calls, instructions, cycles (its own), share (of all cycles), inclusive_cycles
        (with callees; of a recursion once), and its own cycles by cause. Code without symbols is
        one function for each memory. Cycles without any instruction have a row of their own.
        """
        table = tables.function_table(self._instructions(), self._recording.outside_cycles)
        totals = call_tables.totals_by_function(self.call_tree())
        found = totals.reindex(table["function"]).fillna(0).astype(int).reset_index(drop=True)
        # Code that was entered otherwise than by a call has at least its own.
        inclusive = found["inclusive_cycles"].clip(lower=table["cycles"])
        table.insert(1, "calls", found["calls"])
        table.insert(4, "share", table["cycles"] / max(1, self.cycles))
        table.insert(5, "inclusive_cycles", inclusive)
        return table

    def calls(self) -> pd.DataFrame:
        """One row for each caller and callee; see `call_tables.pair_table`."""
        return call_tables.pair_table(self.call_tree())

    def call_tree(self) -> pd.DataFrame:
        """One row for each path of calls; see `call_tables.path_table`."""
        self._refresh()
        nodes = self._recording.calls.nodes(self._last_cycle)
        return call_tables.path_table(nodes, self._function_of)

    def instructions(self, function: str | None = None) -> pd.DataFrame:
        """Annotated disassembly: address, line, text, executions, cycles, these by cause.

        Of one function, with the instructions that never ran; or of everything that ran.

        Raises:
            NucleoSimError: no function of that name, or no ELF file was given.
        """
        if function is None or self._symbols is None:
            table = self._instructions()
            return table.copy() if function is None else table[table["function"] == function]
        pieces = self._symbols.code_of(self._symbols.function_named(function))
        return tables.listing(pieces, self._spent(), self._line_of)

    def _instructions(self) -> pd.DataFrame:
        spending = self._spent()
        if self._table is None:
            self._table = tables.instruction_table(spending, self._function_of, self._line_of)
        return self._table

    def _function_of(self, address: int) -> str:
        found = None if self._symbols is None else self._symbols.function_at(address)
        return _memory_name(self._chip, address) if found is None else found.name

    def _line_of(self, address: int) -> str:
        return "" if self._symbols is None else self._symbols.line_at(address)


def _memory_name(chip: Chip, address: int) -> str:
    """What code without a symbol is called."""
    for start in chip.flash.starts:
        if start <= address < start + chip.flash.size_bytes:
            return f"(flash at {start:#010x})"
    for ram in chip.rams:
        if any(start <= address < start + ram.size_bytes for start in ram.starts):
            return f"(RAM at {ram.start:#010x})"
    return "(elsewhere)"
