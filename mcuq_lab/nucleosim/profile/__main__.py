"""`python -m mcuq_lab.nucleosim.profile firmware.elf`: flash, run, and tell where the cycles go."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from pyocd.core.exceptions import Error
from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.core.target import Target
from pyocd.flash.file_programmer import FileProgrammer

from mcuq_lab.nucleosim import NucleoSimError, simulated_board
from mcuq_lab.nucleosim.board import SLICE_CYCLES, SimulatedBoard
from mcuq_lab.nucleosim.chip import board_ids
from mcuq_lab.nucleosim.profile import CAUSE_COLUMNS, Profile, flame_figure, profiled
from mcuq_lab.nucleosim.profile.symbols import Symbols

_MOST_CYCLES = 100_000_000
_OPTIONS = {"auto_unlock": False, "hide_programming_progress": True, "no_config": True}


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code: 0, or 1 after a failure, which is told on stderr."""
    asked = _parser().parse_args(arguments)
    try:
        profile = _run(asked)
        _print(profile, asked.rows, asked.function)
        if asked.figure is not None:
            figure = flame_figure(profile.call_tree(), profile.blocks(), title=profile.title)
            figure.savefig(asked.figure)
    except (NucleoSimError, Error, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mcuq_lab.nucleosim.profile",
        description="Runs a firmware on a simulated board, from reset until it halts (BKPT), and "
        "prints where its cycles go.",
    )
    parser.add_argument("elf", type=Path, help="firmware to flash, with symbols")
    parser.add_argument("--board", default="nucleo-f412zg", choices=board_ids())
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="SYMBOL", help="stop when this function is reached")
    end.add_argument(
        "--cycles",
        type=int,
        default=_MOST_CYCLES,
        help="stop after so many cycles at the latest (%(default)s)",
    )
    parser.add_argument("--function", metavar="NAME", help="print its annotated disassembly too")
    parser.add_argument("--rows", type=int, default=20, help="rows of each table (%(default)s)")
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw functions and blocks: .svg, .pdf, .png"
    )
    return parser


def _run(asked: argparse.Namespace) -> Profile:
    symbols = Symbols(asked.elf)
    until = None if asked.until is None else symbols.function_named(asked.until).start
    uid = f"sim:{asked.board}"
    session = ConnectHelper.session_with_chosen_probe(
        blocking=False, return_first=True, unique_id=uid, options=_OPTIONS
    )
    with session:
        FileProgrammer(session).program(str(asked.elf), file_format="elf")
        session.target.reset_and_halt()
        if until is not None:
            session.target.set_breakpoint(until, Target.BreakpointType.HW)
        board = simulated_board(uid)
        with profiled(board, asked.elf) as profile:
            _run_until_halt(session, board, asked.cycles)
    return profile


def _run_until_halt(session: Session, board: SimulatedBoard, most_cycles: int) -> None:
    end = board.cycles + most_cycles
    session.target.resume()
    while board.cycles < end:
        board.slice_cycles = min(SLICE_CYCLES, end - board.cycles)
        if session.target.get_state() in (Target.State.HALTED, Target.State.LOCKUP):
            break
    else:
        print(f"stopped after {most_cycles:,} cycles: it did not halt", file=sys.stderr)
    session.target.halt()


def _print(profile: Profile, rows: int, function: str | None) -> None:
    print(f"{profile.title}\n{profile.cycles:,} cycles\n")
    _print_table(profile.functions().head(rows))
    _print_table(profile.calls().head(rows))
    blocks = profile.blocks().sort_values("cycles", ascending=False, kind="stable")
    _print_table(blocks.head(rows))
    if function is not None:
        _print_table(profile.instructions(function))


def _print_table(table: pd.DataFrame) -> None:
    """Addresses in hexadecimal; causes without cycles are left out."""
    empty = [name for name in CAUSE_COLUMNS if name in table and not table[name].any()]
    shown = table.drop(columns=empty).rename(columns=lambda name: name.removesuffix("_cycles"))
    formatters = {"address": "{:#010x}".format, "share": "{:.1%}".format}
    print(shown.to_string(index=False, formatters=formatters, float_format="{:.2f}".format) + "\n")


if __name__ == "__main__":
    sys.exit(main())
