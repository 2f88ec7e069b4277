"""Which probe: lists them, picks exactly one, keeps others off it, opens pyOCD's session on it."""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import filelock
import platformdirs
from pyocd.board.board_ids import BOARD_ID_TO_INFO
from pyocd.core import exceptions
from pyocd.core.helpers import ConnectHelper
from pyocd.core.session import Session
from pyocd.core.soc_target import SoCTarget
from pyocd.probe.debug_probe import DebugProbe
from pyocd.utility.sequencer import CallSequence

from mcuq_lab.board import Board
from mcuq_lab.errors import BoardError, ConfigError
from mcuq_lab.settings import load_settings

_LOG = logging.getLogger(__name__)

SIMULATED_PREFIX = "sim:"

# ST-LINK/V2-1 goes up to 4.6 MHz (UM1724); a core at a reset clock of 4 MHz still answers.
_SWD_HZ = 4_000_000

_open_simulated: set[str] = set()
_open_simulated_guard = threading.Lock()


@dataclass(frozen=True)
class ProbeInfo:
    """A probe that answers now.

    Attributes:
        uid: unique id.
        description: vendor and product.
        pyocd_target: target of the board that the probe is soldered to, "" where not known.
        simulated: whether it is a simulated one.
    """

    uid: str
    description: str
    pyocd_target: str
    simulated: bool


def is_simulated(uid: str) -> bool:
    """Whether a unique id names a simulated board."""
    return uid.lower().startswith(SIMULATED_PREFIX)


def is_of(probe: ProbeInfo, board: Board) -> bool:
    """Whether a probe is soldered to a board of this kind.

    By its board id pyOCD takes some boards' chip for a target that comes as a CMSIS pack.
    """
    by_id = BOARD_ID_TO_INFO.get(board.board_id)
    targets = {board.pyocd_target, by_id.target if by_id is not None else None}
    return probe.pyocd_target in targets


def find_probes() -> tuple[ProbeInfo, ...]:
    """All probes that answer, real ones first; raises BoardError when USB cannot be searched."""
    with probe_errors("search for probes"):
        found = [_describe(probe) for probe in _all_probes(None)]
    return tuple(sorted(found, key=lambda probe: (probe.simulated, probe.uid)))


def choose_uid(
    board: Board, probe_uid: str | None, simulated: bool | None, probes: Sequence[ProbeInfo]
) -> str:
    """Unique id of the one probe to use.

    Args:
        board: what the probe must belong to, as far as the probe knows.
        probe_uid: the whole or a part of the id of a real probe; or a simulated board's id.
        simulated: True: a simulated board; False: a real one; None: a real one if there is one.
        probes: those that answer.

    Raises:
        ConfigError: `probe_uid` and `simulated` contradict each other.
        BoardError: no probe, or more than one, fits.
    """
    if probe_uid is not None and is_simulated(probe_uid):
        if simulated is False:
            raise ConfigError(f"Probe '{probe_uid}' is simulated, but a real one is asked for.")
        return probe_uid
    if simulated:
        if probe_uid is not None:
            raise ConfigError(
                f"Probe '{probe_uid}' is no simulated one; those start with '{SIMULATED_PREFIX}'. "
                f"Leave the probe out for '{board.simulated_uid}'."
            )
        return board.simulated_uid
    real = [probe for probe in probes if not probe.simulated]
    if probe_uid is not None:
        wanted = probe_uid.lower()
        matching = [probe for probe in real if probe.uid.lower() == wanted]
        matching = matching or [probe for probe in real if wanted in probe.uid.lower()]
    else:
        matching = _that_may_be_of(board, probes)
    if len(matching) == 1:
        return matching[0].uid
    if matching:
        asked = f"match '{probe_uid}'" if probe_uid else f"may belong to a {board.name}"
        raise BoardError(
            f"{len(matching)} probes {asked}: {_listed(matching)}. Give the whole unique id of one."
        )
    if probe_uid is None and simulated is None:
        return board.simulated_uid
    asked = f"matches '{probe_uid}'" if probe_uid else f"of a {board.name} answers"
    raise BoardError(
        f"No probe {asked}; there are: {_listed(real) or 'no real ones'}. Plug the board in, check "
        f"the cable and the udev rules ('pyocd list' must show it), or take the simulated board."
    )


def uids_of_boards(
    board: Board, wanted: Sequence[str], simulated: bool | None, probes: Sequence[ProbeInfo]
) -> tuple[str, ...]:
    """Unique ids of all probes whose boards may be measured on, for several boards at a time.

    Args:
        board: which kind of board.
        wanted: ids, each as `choose_uid` takes it; empty: whatever is there.
        simulated, probes: as for `choose_uid`.

    Returns:
        The ids; none where simulated boards will do, of which there are as many as one asks for.

    Raises:
        ConfigError, BoardError: as by `choose_uid`.
    """
    if wanted:
        return tuple(dict.fromkeys(choose_uid(board, uid, simulated, probes) for uid in wanted))
    found = () if simulated else _that_may_be_of(board, probes)
    if simulated is False and not found:
        choose_uid(board, None, simulated, probes)  # says what there is instead
    return tuple(probe.uid for probe in found)


@contextlib.contextmanager
def open_session(board: Board, uid: str) -> Iterator[Session]:
    """pyOCD's session on the probe with exactly this id, core halted, no one else on it.

    A simulated board fails as the user's settings say.

    Raises:
        ConfigError: the user's settings file is wrong.
        BoardError: the probe is in use, is gone, or its board does not answer.
    """
    with _alone(uid), probe_errors(f"open probe {uid}"):
        # pyOCD matches by substring: `sim:x` is part of `sim:x:1`.
        exact = [probe for probe in _all_probes(uid) if probe.unique_id.lower() == uid.lower()]
        if not exact:
            raise BoardError(
                f"Probe {uid} does not answer. Plug it in; 'pyocd list' shows those that do."
            )
        session = Session(exact[0], options=_options(board) | _simulator_options(uid))
        session.delegate = _WithoutPeripherals()
        with session:
            yield session


def _options(board: Board) -> dict[str, object]:
    return {
        "target_override": board.pyocd_target,
        "frequency": _SWD_HZ,
        # The default may erase the whole chip, to unlock it.
        "auto_unlock": False,
        "hide_programming_progress": True,
        # Otherwise DEMCR is cleared on disconnect, and with it the cycle counter stops.
        "resume_on_disconnect": False,
        # SYSRESETREQ takes microseconds on an STM32, and pyOCD polls for its end in any case.
        "reset.post_delay": 0.002,
        # A pyocd.yaml that happens to lie in the working directory must not change a measurement.
        "no_config": True,
        # Whole sectors, and only those that differ: never the whole chip, nor what lies behind
        # the image. Pages of equal CRC count as equal; the firmware checks all of it afterwards.
        "chip_erase": "sector",
        "smart_flash": not board.flash_whole_image,
        "fast_program": True,
        "keep_unwritten": False,
    }


class _WithoutPeripherals:
    """pyOCD's delegate: keeps it from reading the description of all peripherals (SVD).

    Nothing here uses that, and it takes as long as flashing a network, in a thread beside it.
    """

    def will_init_target(self, target: SoCTarget, init_sequence: CallSequence) -> None:
        """Called by pyOCD before it connects to a chip."""
        if init_sequence.has_task("load_svd"):
            init_sequence.remove_task("load_svd")


def _simulator_options(uid: str) -> dict[str, object]:
    faults = load_settings().simulator_faults if is_simulated(uid) else ""
    if not faults:
        return {}
    _LOG.warning("%s fails on purpose, as mcuq.toml says: %s", uid, faults)
    return {"nucleosim.faults": faults}


@contextlib.contextmanager
def probe_errors(task: str) -> Iterator[None]:
    """Turns what pyOCD and USB raise into BoardError that says what was being done."""
    try:
        yield
    except (exceptions.Error, OSError) as error:
        said = str(error) or type(error).__name__
        raise BoardError(
            f"Could not {task}: {said}. Check the cable and that nothing else uses the probe."
        ) from error


@contextlib.contextmanager
def _alone(uid: str) -> Iterator[None]:
    """Keeps a second session off the probe.

    A real probe is guarded against all processes of this computer. A simulated board lives inside
    of its process, so it is guarded there.
    """
    in_use = f"Probe {uid} is in use by another session. Close that one, or choose another probe."
    if is_simulated(uid):
        with _open_simulated_guard:
            if uid in _open_simulated:
                raise BoardError(in_use)
            _open_simulated.add(uid)
        try:
            yield
        finally:
            with _open_simulated_guard:
                _open_simulated.discard(uid)
        return
    directory = platformdirs.user_runtime_path("mcuq", ensure_exists=True)
    lock = filelock.FileLock(directory / f"{re.sub(r'[^A-Za-z0-9_-]', '_', uid)}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise BoardError(in_use) from error
    try:
        yield
    finally:
        lock.release()


def _all_probes(uid: str | None) -> list[DebugProbe]:
    return ConnectHelper.get_all_connected_probes(blocking=False, unique_id=uid)


def _that_may_be_of(board: Board, probes: Sequence[ProbeInfo]) -> list[ProbeInfo]:
    """Real probes on boards of this kind, and those that do not say where they are soldered to."""
    real = [probe for probe in probes if not probe.simulated]
    return [probe for probe in real if not probe.pyocd_target or is_of(probe, board)]


def _describe(probe: DebugProbe) -> ProbeInfo:
    info = probe.associated_board_info
    return ProbeInfo(
        uid=probe.unique_id,
        description=f"{probe.vendor_name} {probe.product_name}",
        pyocd_target=(info.target or "") if info is not None else "",
        simulated=is_simulated(probe.unique_id),
    )


def _listed(probes: Sequence[ProbeInfo]) -> str:
    return ", ".join(f"{probe.uid} ({probe.description})" for probe in probes)
