"""The wire between probe and chip: what it answers to each access, and how long accesses take."""

from __future__ import annotations

from enum import Enum, auto

from mcuq_lab.nucleosim import swd_times
from mcuq_lab.nucleosim.faults import Faults

# How often a probe repeats an access that is answered with WAIT. The figure is the one that pyOCD
# gives to CMSIS-DAP probes (DAP_TransferConfigure); that of ST's firmware is not published.
WAIT_RETRIES = 150

DEFAULT_HZ = 1_000_000
"""Clock before the probe sets one: the default of pyOCD's option `frequency`."""


class Answer(Enum):
    """What became of an access."""

    OK = auto()
    WAIT = auto()
    """WAIT until the probe lost patience."""
    FAULT = auto()
    NONE = auto()
    """No acknowledge, or one that cannot be."""
    GONE = auto()
    """The probe is unplugged."""


class SwdLink:
    """State of the wire: injected faults, clock, and the modelled time of what went over it.

    Attributes:
        requested_hz: the clock that the debugger asked for.
        seconds: modelled time of all accesses so far (see `swd_times`).
    """

    def __init__(self) -> None:
        self.requested_hz = DEFAULT_HZ
        self.seconds = 0.0
        self.inject(Faults())

    def inject(self, faults: Faults) -> None:
        """Make the faults of the wire those of `faults`; the counts start anew."""
        self._at_most_hz = faults.slow_swd_hz
        self._unplugged = faults.unplugged
        self._unplugs = _Strikes(faults.unplugged_after, 0)
        self._transfer_faults = _Strikes(faults.transfer_fault_after, faults.transfer_fault_count)
        self._faults = _Strikes(faults.swd_fault_after, faults.swd_fault_count)
        self._waits = _Strikes(faults.swd_wait_after, faults.swd_wait_count)

    @property
    def unplugged(self) -> bool:
        """Whether the probe is gone."""
        return self._unplugged

    @property
    def frequency_hz(self) -> int:
        """Clock on the wire: the fastest step of an ST-LINK/V2-1 that is not above what is asked.

        The slowest step stands for anything slower; a fault may hold the clock down further.
        """
        step = swd_times.stlink_step_hz(self.requested_hz)
        return step if self._at_most_hz is None else min(step, self._at_most_hz)

    def access_memory(self, address: int, size_bytes: int) -> Answer:
        """One access to memory, of any length, by a probe that knows how to move blocks."""
        self.seconds += swd_times.memory_s(self.frequency_hz, address, size_bytes)
        return self._answer(is_debug_port=False)

    def access_register(self, is_debug_port: bool) -> Answer:
        """One access to a register of the debug port, or else of an access port.

        The debug port answers where an access port has to say WAIT or FAULT (ARM IHI 0031, chapter
        B4), so that an error can be cleared.
        """
        self.seconds += swd_times.register_s(self.frequency_hz, is_debug_port)
        return self._answer(is_debug_port)

    def _answer(self, is_debug_port: bool) -> Answer:
        self._unplugged |= self._unplugs.strike()
        if self._unplugged:
            return Answer.GONE
        if self._transfer_faults.strike():
            return Answer.NONE
        if is_debug_port:
            return Answer.OK
        if self._waits.strike() and not self._patience_pays():
            return Answer.WAIT
        return Answer.FAULT if self._faults.strike() else Answer.OK

    def _patience_pays(self) -> bool:
        """Repeat an access that got WAIT: whether the answer is another one at last."""
        wait_s = swd_times.wait_s(self.frequency_hz)
        for _ in range(WAIT_RETRIES):
            self.seconds += wait_s
            if not self._waits.strike():
                return True
        return False


class _Strikes:
    """Strikes `count` times (0: for ever) once `after` accesses have passed; None: never."""

    def __init__(self, after: int | None, count: int) -> None:
        self._before = after
        self._left = count or float("inf")

    def strike(self) -> bool:
        """Whether it strikes the access that is being made."""
        if self._before is None:
            return False
        if self._before:
            self._before -= 1
            return False
        if not self._left:
            return False
        self._left -= 1
        return True
