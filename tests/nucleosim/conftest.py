"""Tiny images, built with gcc, and pyOCD sessions on simulated boards of their own."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest
from elftools.elf.elffile import ELFFile
from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.core.target import Target
from pyocd.flash.file_programmer import FileProgrammer

from mcuq_lab.nucleosim import discard_board, simulated_board
from mcuq_lab.nucleosim.board import SimulatedBoard
from mcuq_lab.nucleosim.chip import Chip, board_ids, load_chip

IMAGES = Path(__file__).parent / "images"
COMPILER = shutil.which("arm-none-eabi-gcc")
OPTIONS = ["-mthumb", "-mfloat-abi=hard", "-O1", "-g"]
CORE_OPTIONS = {
    "cortex-m4": ["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"],
    "cortex-m7": ["-mcpu=cortex-m7", "-mfpu=fpv5-d16"],
}
DEFAULT_BOARD = "nucleo-f412zg"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Image:
    """A linked image and where its symbols are."""

    path: Path
    symbols: dict[str, int]


@pytest.fixture(scope="session")
def build_image(tmp_path_factory) -> Callable[..., Image]:
    """Build an image for a board from C text that follows startup.h."""
    if COMPILER is None:
        pytest.skip("arm-none-eabi-gcc is not on PATH: install the Arm bare-metal compiler")
    directory = tmp_path_factory.mktemp("images")
    built: dict[tuple[str, str], Image] = {}

    def build(source: str, board: str = DEFAULT_BOARD) -> Image:
        if (source, board) not in built:
            stem = directory / f"image{len(built)}"
            stem.with_suffix(".c").write_text('#include "startup.h"\n' + source)
            stem.with_suffix(".ld").write_text(_linker_script(load_chip(board)))
            elf = stem.with_suffix(".elf")
            command = [COMPILER, *OPTIONS, *CORE_OPTIONS[load_chip(board).core.name]]
            command += ["-nostdlib", "-ffreestanding", f"-I{IMAGES}", f"-T{stem}.ld"]
            command += ["-Wl,--no-warn-rwx-segments", "-o", str(elf)]
            sources = [str(stem.with_suffix(".c")), str(IMAGES / "startup.c")]
            subprocess.run([*command, *sources], check=True)
            built[source, board] = Image(elf, _symbols(elf))
        return built[source, board]

    return build


def _linker_script(chip: Chip) -> str:
    return Template((IMAGES / "image.ld.in").read_text()).substitute(
        flash_start=chip.flash.start,
        flash_bytes=chip.flash.size_bytes,
        ram_start=chip.rams[0].start,
        ram_bytes=chip.rams[0].size_bytes,
    )


def _symbols(elf: Path) -> dict[str, int]:
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {s.name: s.entry.st_value & ~1 for s in table.iter_symbols() if s.name}


class Bench:
    """A session on one simulated board, and the few things that most tests do with it."""

    def __init__(self, session: Session, board: SimulatedBoard) -> None:
        self.session = session
        self.board = board
        self.target = session.target
        self.image: Image | None = None

    def flash(self, image: Image) -> None:
        """Flash an image and stop at its reset handler."""
        FileProgrammer(self.session).program(str(image.path))
        self.image = image
        self.target.reset_and_halt()

    def symbol(self, name: str) -> int:
        """Address of a symbol of the image that was flashed."""
        return self.image.symbols[name]

    def read(self, name: str, count: int = 1) -> list[int]:
        """Words at a symbol."""
        return list(self.target.read_memory_block32(self.symbol(name), count))

    def run(self, polls: int = 200) -> Target.State:
        """Resume and poll until the core halts or does not run any more."""
        self.target.resume()
        for _ in range(polls):
            state = self.target.get_state()
            if state in (Target.State.HALTED, Target.State.LOCKUP):
                return state
        return self.target.get_state()


@pytest.fixture
def new_bench() -> Iterator[Callable[..., Bench]]:
    """Open a session on a new board; further keyword arguments are pyOCD options."""
    opened: list[tuple[Session, str]] = []

    def open_one(uid: str | None = None, board: str = DEFAULT_BOARD, **options) -> Bench:
        uid = uid or f"sim:{board}:test{next(_numbers)}"
        session = ConnectHelper.session_with_chosen_probe(
            blocking=False,
            return_first=True,
            unique_id=uid,
            options={
                "auto_unlock": False,
                "hide_programming_progress": True,
                "resume_on_disconnect": False,
                "reset.post_delay": 0,
                **{name.replace("__", "."): value for name, value in options.items()},
            },
        )
        session.open()
        opened.append((session, uid))
        return Bench(session, simulated_board(uid))

    yield open_one
    for session, uid in opened:
        board = simulated_board(uid)
        board.inject(type(board.faults)())
        session.close()
        discard_board(uid)


@pytest.fixture
def bench(new_bench) -> Bench:
    """A session on a new board."""
    return new_bench()


@pytest.fixture(params=board_ids())
def any_bench(request, new_bench) -> Bench:
    """A session on a new board of each kind."""
    return new_bench(board=request.param)
