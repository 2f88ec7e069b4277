"""A board is data: `boards/<id>/board.toml`, read into frozen dataclasses.

The memory map's sizes and addresses are not here but pyOCD's (see `mcuq_lab.bench`): the image is
linked against the same description that flashes and debugs it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcuq_lab.errors import ConfigError

BOARDS_DIR = Path(__file__).resolve().parent.parent / "boards"
DEFAULT_BOARD = "nucleo_f412zg"


@dataclass(frozen=True)
class RegisterWrite:
    """One step of a clock set-up, done by the debugger over SWD.

    The bits of `mask` at `address` become `value`; then, if `wait_mask` is not 0, poll `address`
    until `(read & wait_mask) == wait_value`.
    """

    address: int
    mask: int
    value: int
    wait_mask: int
    wait_value: int
    comment: str


@dataclass(frozen=True)
class Clock:
    """A clock option: the core clock, the flash wait states, and the writes that lead there."""

    name: str
    sysclk_hz: int
    flash_wait_states: int
    source: str
    writes: tuple[RegisterWrite, ...]


@dataclass(frozen=True)
class ExtraRegion:
    """A RAM region that pyOCD's memory map lacks, with the manual's page that names it."""

    name: str
    start: int
    length_bytes: int
    source: str


@dataclass(frozen=True)
class Board:
    """One board, simulated or real: the probe that answers is the only difference.

    Attributes:
        id: directory name under `boards/`, as on the command line.
        name: as printed on the box.
        board_id: the four digits that an on-board ST-LINK reports.
        pyocd_target: pyOCD's target name (`target_override`).
        core: `cortex-m4` or `cortex-m7`; `fpu` is gcc's -mfpu.
        flash_region, ram_region: names of pyOCD memory regions that hold code, and data with
            arena and stack.
        simulated_uid: unique id of the simulated board's probe.
        flash_whole_image: write every page of an image, not only those that differ: for a flash
            algorithm that erases more than it is told.
    """

    id: str
    name: str
    board_id: str
    pyocd_target: str
    core: str
    fpu: str
    flash_region: str
    ram_region: str
    stack_bytes: int
    simulated_uid: str
    clocks: tuple[Clock, ...]
    extra_regions: tuple[ExtraRegion, ...]
    flash_whole_image: bool = False

    def clock(self, name: str = "reset") -> Clock:
        """The clock option called `name`; raises ConfigError if the board has none."""
        for clock in self.clocks:
            if clock.name == name:
                return clock
        known = ", ".join(clock.name for clock in self.clocks)
        raise ConfigError(f"Board '{self.id}' has no clock '{name}'; its board.toml has: {known}.")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _WriteModel(_Model):
    address: int
    mask: int
    value: int
    wait_mask: int = 0
    wait_value: int = 0
    comment: str


class _ClockModel(_Model):
    sysclk_hz: int = Field(gt=0)
    flash_wait_states: int = Field(ge=0)
    source: str
    writes: tuple[_WriteModel, ...] = ()


class _RegionModel(_Model):
    name: str
    start: int
    length_bytes: int = Field(gt=0)
    source: str


class _BoardModel(_Model):
    name: str
    board_id: str
    pyocd_target: str
    core: Literal["cortex-m4", "cortex-m7"]
    fpu: str
    flash_region: str
    ram_region: str
    stack_bytes: int = Field(gt=0)
    simulated_uid: str
    clock: dict[str, _ClockModel]
    extra_regions: tuple[_RegionModel, ...] = ()
    flash_whole_image: bool = False


def board_ids(boards_dir: Path = BOARDS_DIR) -> tuple[str, ...]:
    """Ids of all boards that have a board.toml."""
    return tuple(sorted(path.parent.name for path in boards_dir.glob("*/board.toml")))


def load_board(board_id: str = DEFAULT_BOARD, boards_dir: Path = BOARDS_DIR) -> Board:
    """Reads `boards/<board_id>/board.toml`.

    Raises:
        ConfigError: there is no such board, or its file has a wrong or unknown entry.
    """
    path = boards_dir / board_id / "board.toml"
    if not path.is_file():
        known = ", ".join(board_ids(boards_dir)) or "none"
        raise ConfigError(
            f"There is no board '{board_id}'; known boards: {known}. "
            f"A new board is one file: {boards_dir}/<id>/board.toml."
        )
    try:
        model = _BoardModel.model_validate(tomllib.loads(path.read_text()))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path} is not a valid board description: {error}") from error
    if "reset" not in model.clock:
        raise ConfigError(f"{path} lacks [clock.reset], the clock that the chip starts with.")
    clocks = tuple(
        Clock(
            name=name,
            sysclk_hz=clock.sysclk_hz,
            flash_wait_states=clock.flash_wait_states,
            source=clock.source,
            writes=tuple(RegisterWrite(**write.model_dump()) for write in clock.writes),
        )
        for name, clock in model.clock.items()
    )
    return Board(
        id=board_id,
        clocks=clocks,
        extra_regions=tuple(ExtraRegion(**region.model_dump()) for region in model.extra_regions),
        **model.model_dump(exclude={"clock", "extra_regions"}),
    )
