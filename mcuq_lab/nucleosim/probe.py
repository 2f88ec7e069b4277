"""The debug probe of a simulated board, as pyOCD knows probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyocd.board.board_ids import BOARD_ID_TO_INFO, BoardInfo
from pyocd.board.mbed_board import MbedBoard
from pyocd.core import exceptions
from pyocd.probe.debug_probe import DebugProbe

from mcuq_lab.nucleosim import flash_store, registry
from mcuq_lab.nucleosim.chip import board_ids, load_chip
from mcuq_lab.nucleosim.errors import FaultsError
from mcuq_lab.nucleosim.fault_settings import faults_from_setting
from mcuq_lab.nucleosim.swd_link import WAIT_RETRIES, Answer

if TYPE_CHECKING:
    from mcuq_lab.nucleosim.board import SimulatedBoard
    from mcuq_lab.nucleosim.debug_port import DebugPort
    from mcuq_lab.nucleosim.timing import TimingModel

# What pyOCD's probes raise, by the answer on the wire, and what each says.
_ERRORS: dict[Answer, tuple[type[exceptions.Error], str]] = {
    Answer.WAIT: (exceptions.TransferTimeoutError, f"WAIT, {WAIT_RETRIES + 1} times"),
    Answer.FAULT: (exceptions.TransferFaultError, "FAULT"),
    Answer.NONE: (exceptions.TransferError, "no acknowledge"),
    Answer.GONE: (exceptions.ProbeDisconnected, "unplugged"),
}


class SimulatedProbe(DebugProbe):
    """An on-board probe with a simulated board around it; see DebugProbe for what methods do."""

    @classmethod
    def get_all_connected_probes(
        cls, unique_id: str | None = None, is_explicit: bool = False
    ) -> Sequence[DebugProbe]:
        """One probe for each kind of board, and one for each further board in use."""
        return [cls(name) for name in registry.known_ids() if not _is_unplugged(name)]

    @classmethod
    def get_probe_with_id(cls, unique_id: str, is_explicit: bool = False) -> DebugProbe | None:
        """The probe with exactly this id; pyOCD may have taken the `sim:` off."""
        if not is_explicit and not unique_id.lower().startswith(registry.PREFIX):
            return None
        if registry.board_kind(unique_id) not in board_ids() or _is_unplugged(unique_id):
            return None
        return cls(unique_id)

    def __init__(self, unique_id: str) -> None:
        super().__init__()
        self._unique_id = registry.normal_id(unique_id)
        self._chip = load_chip(registry.board_kind(unique_id))
        self._board: SimulatedBoard | None = None
        self._port: DebugPort | None = None
        self._flash_file: Path | None = None
        self._stored_image_age = 0
        self._opened_s: float | None = None
        """When it was opened, if time is to pass as with a real probe."""
        self._connected = False
        self._in_reset = False

    # What it is

    @property
    def vendor_name(self) -> str:
        """As printed by `pyocd list`."""
        return "Simulated"

    @property
    def product_name(self) -> str:
        """As printed by `pyocd list`."""
        return f"{self._chip.name} (nucleosim)"

    @property
    def unique_id(self) -> str:
        """Such as `sim:nucleo-f412zg`."""
        return self._unique_id

    @property
    def supported_wire_protocols(self):
        """SWD only."""
        return [DebugProbe.Protocol.DEFAULT, DebugProbe.Protocol.SWD]

    @property
    def wire_protocol(self):
        """SWD once connected."""
        return DebugProbe.Protocol.SWD if self._connected else None

    @property
    def capabilities(self) -> set[DebugProbe.Capability]:
        """None: pyOCD selects access ports itself."""
        return set()

    @property
    def associated_board_info(self) -> BoardInfo | None:
        """pyOCD's entry for the board, with the target that needs no CMSIS pack."""
        info = BOARD_ID_TO_INFO.get(self._chip.board_id)
        return None if info is None else info._replace(target=self._chip.pyocd_target)

    @property
    def timing_model(self) -> TimingModel | None:
        """The model that cycles come from: its name, version, stated uncertainty. None until open.

        A capability of simulated boards: probes of real ones have no such property.
        """
        return None if self._board is None else self._board.timing

    @property
    def runs_while_polled(self) -> bool:
        """That the core runs within the debugger's reads of DHCSR, so that waiting between them
        only loses time. A capability of simulated boards, like `timing_model`.
        """
        return True

    def create_associated_board(self) -> MbedBoard:
        """pyOCD's board object, with the target that the chip's description names."""
        return MbedBoard(
            self.session,
            target=self._target(),
            board_info=self.associated_board_info,
            board_id=self._chip.board_id,
        )

    def _target(self) -> str | None:
        # A target that the user chose is left to pyOCD.
        chosen = self.session.options.is_set("target_override")
        return None if chosen else self._chip.pyocd_target

    # Connection

    @property
    def is_open(self) -> bool:
        """Whether `open` has been called."""
        return self._board is not None

    def open(self) -> None:
        """Find or make the board and set it up as the session's options say."""
        from mcuq_lab.nucleosim.debug_port import DebugPort  # as late as the engine itself

        is_new = registry.existing_board(self._unique_id) is None
        board = registry.simulated_board(self._unique_id)
        self._inject_faults(board)
        if board.swd.unplugged:
            raise exceptions.ProbeDisconnected(f"{self._unique_id} is unplugged")
        board.restart_session_time()
        self._opened_s = time.monotonic() if self._option("nucleosim.real_time") else None
        self._board = board
        self._port = DebugPort(self._board)
        if self._option("nucleosim.persist"):
            directory = self._option("nucleosim.flash_dir") or flash_store.default_directory()
            self._flash_file = flash_store.flash_file(Path(directory), self._unique_id)
            image = flash_store.load(self._flash_file) if is_new else None
            if image is not None:
                self._board.load_flash_image(image)
        self._stored_image_age = self._board.flash_write_count

    def _inject_faults(self, board: SimulatedBoard) -> None:
        setting = self._option("nucleosim.faults")
        if not setting:
            return
        try:
            board.inject(faults_from_setting(setting, Path(self.session.project_dir)))
        except FaultsError as error:
            raise exceptions.Error(str(error)) from error

    def close(self) -> None:
        """Leave the board; with `nucleosim.persist`, store its flash if it has changed."""
        board, self._board, self._port = self._board, None, None
        if board is None or self._flash_file is None:
            return
        if board.flash_write_count != self._stored_image_age:
            flash_store.save(self._flash_file, board.flash_image())

    def _option(self, name: str):
        return self.session.options.get(name) if self.session is not None else None

    def connect(self, protocol: DebugProbe.Protocol | None = None) -> None:
        """Connect with SWD."""
        self._check_plugged()
        self._connected = True

    def disconnect(self) -> None:
        """Disconnect; the board keeps its state."""
        self._connected = False

    def set_clock(self, frequency: float) -> None:
        """Ask for an SWD clock: only the modelled time depends on it."""
        self._check_plugged()
        at_most_hz = self._option("nucleosim.swd_hz")
        self._board.swd.requested_hz = min(frequency, at_most_hz or frequency)

    # Reset pin

    def reset(self) -> None:
        """Pulse nRESET."""
        self.assert_reset(True)
        self.assert_reset(False)

    def assert_reset(self, asserted: bool) -> None:
        """Drive nRESET; the chip restarts when it is released."""
        self._check_plugged()
        self._board.hold_reset(asserted)
        self._in_reset = asserted

    def is_reset_asserted(self) -> bool:
        """State of nRESET."""
        return self._in_reset

    # Debug port

    def read_dp(self, addr: int, now: bool = True):
        """Read a debug port register."""
        return self._deferred(self._access(lambda: self._port.read_dp(addr), True), now)

    def write_dp(self, addr: int, data: int) -> None:
        """Write a debug port register."""
        self._access(lambda: self._port.write_dp(addr, data), True)

    def read_ap(self, addr: int, now: bool = True):
        """Read an access port register."""
        return self._deferred(self._access(lambda: self._port.read_ap(addr), False), now)

    def write_ap(self, addr: int, data: int) -> None:
        """Write an access port register."""
        self._access(lambda: self._port.write_ap(addr, data), False)

    def read_ap_multiple(self, addr: int, count: int = 1, now: bool = True):
        """Read one access port register `count` times."""
        return self._deferred([self.read_ap(addr) for _ in range(count)], now)

    def write_ap_multiple(self, addr: int, values: Sequence[int]) -> None:
        """Write values to one access port register."""
        for value in values:
            self.write_ap(addr, value)

    def get_memory_interface_for_ap(self, ap_address):
        """The fast memory interface, unless the raw debug port was asked for."""
        from mcuq_lab.nucleosim.memory_access import BoardMemory

        if ap_address.apsel != 0 or self._option("nucleosim.raw_dap"):
            return None
        return BoardMemory(self._board, self._transfer)

    @staticmethod
    def _deferred(value, now: bool):
        # Accesses happen in the order of the calls; only the result is handed over later.
        return value if now else lambda: value

    def _access(self, access: Callable, is_debug_port: bool):
        """One access to a register."""
        from mcuq_lab.nucleosim.debug_port import StickyError

        self._check_plugged()
        answer = self._board.swd.access_register(is_debug_port)
        if answer is Answer.FAULT:
            self._port.set_sticky_error()
        self._check(answer)
        try:
            return access()
        except StickyError as error:
            raise exceptions.TransferFaultError() from error

    def _transfer(self, address: int, size_bytes: int) -> None:
        """Before an access to memory."""
        self._check_plugged()
        answer = self._board.swd.access_memory(address, size_bytes)
        if answer is Answer.FAULT:
            raise exceptions.TransferFaultError(fault_address=address, length=size_bytes)
        self._check(answer)

    def _check(self, answer: Answer) -> None:
        if answer is not Answer.OK:
            kind, text = _ERRORS[answer]
            raise kind(f"{self._unique_id}: SWD access failed: {text}")
        if self._opened_s is not None:
            ahead_s = self._board.session_seconds.total_s - (time.monotonic() - self._opened_s)
            time.sleep(max(ahead_s, 0.0))

    def _check_plugged(self) -> None:
        if self._board is None or self._board.swd.unplugged:
            raise exceptions.ProbeDisconnected(f"{self._unique_id} is unplugged or not open")


def _is_unplugged(unique_id: str) -> bool:
    board = registry.existing_board(unique_id)
    return board is not None and board.swd.unplugged
