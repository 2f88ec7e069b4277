"""A simulated board: one chip, put together from its description."""

from __future__ import annotations

from collections.abc import Collection

from mcuq_lab.nucleosim.chip import Chip
from mcuq_lab.nucleosim.cortexm import ppb
from mcuq_lab.nucleosim.cortexm.faults import HARD_FAULT, HFSR_VECTTBL, Fault
from mcuq_lab.nucleosim.cortexm.features import core_features
from mcuq_lab.nucleosim.cortexm.processor import Processor
from mcuq_lab.nucleosim.cortexm.scs import CCR_DC, CCR_IC, SystemControlSpace
from mcuq_lab.nucleosim.cortexm.trace import Breakpoints, CycleCounter
from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.recording import Recording
from mcuq_lab.nucleosim.errors import NucleoSimError
from mcuq_lab.nucleosim.faults import Faults
from mcuq_lab.nucleosim.memory_waits import WaitSettings, waits_of
from mcuq_lab.nucleosim.peripherals.catalogue import (
    FLASH_CONTROLLERS,
    clock_control,
    make_peripherals,
)
from mcuq_lab.nucleosim.peripherals.clocks import ResetCause
from mcuq_lab.nucleosim.session_time import SessionSeconds, SessionTime
from mcuq_lab.nucleosim.swd_link import SwdLink
from mcuq_lab.nucleosim.timing import TimingModel, timing_model

_FLASH_CONTROLLER_BYTES = 0x400

# What a read of DHCSR lets pass: some tens of milliseconds of the host's time.
SLICE_CYCLES = 5_000_000


class SimulatedBoard:
    """The whole board behind its debug probe. Lives as long as the process, like a board on a desk.

    Attributes:
        chip: its description.
        timing: the model that its cycles come from: name, version, stated uncertainty.
        faults: what is wrong with it now (see `inject`).
        swd: the wire that its probe reaches it by.
    """

    def __init__(self, chip: Chip, timing: TimingModel | None = None) -> None:
        self.chip = chip
        self.timing = timing or timing_model(chip.core.name, chip.memory_timing)
        self.faults = Faults()
        self.swd = SwdLink()
        self._wait_settings: WaitSettings | None = None
        self._machine = Machine(chip.core.name, self.timing)
        self._processor = Processor(self._machine, self._boot_address, self.reset)
        self._scs = SystemControlSpace(self._processor, chip.core, SLICE_CYCLES)
        features = core_features(chip.core.name)
        self._cycle_counter = CycleCounter(
            self._processor, chip.core.watchpoints, features.has_dwt_lock
        )
        self._breakpoints = Breakpoints(
            self._processor, chip.core.breakpoints, features.breakpoint_revision
        )
        self._rams = [HostMemory(ram.start, ram.size_bytes) for ram in chip.rams]
        self._flash_memory = HostMemory(chip.flash.start, chip.flash.size_bytes, fill=0xFF)
        self._flash = self._make_flash()
        self._blocks = make_peripherals(chip)
        self._clocks = clock_control(self._blocks)
        self._map_peripherals()
        for ram, memory in zip(chip.rams, self._rams, strict=True):
            self._machine.map.add_ram(memory, ram.starts[1:], ram.executable)
        self._processor.before_run = self._before_run
        self._flash.stop_by(self._machine.limit_address)
        self._processor.reset()
        self.restart_session_time()

    def _boot_address(self) -> int:
        """Where the vectors are after a reset."""
        return self._flash.boot_address

    def _before_run(self) -> bool:
        """Set the waits of the memories; whether the chip works at the clock that is set."""
        settings = WaitSettings(
            wait_states=self._flash.wait_states,
            prefetch=self._flash.prefetch_on,
            instruction_cache=self._flash.instruction_cache_on or self.instruction_cache_on,
            data_cache=self._flash.data_cache_on or self.data_cache_on,
            cycles_per_bus_cycle=1 if self._clocks is None else self._clocks.cycles_per_bus_cycle,
        )
        if settings != self._wait_settings:
            self._wait_settings = settings
            flash = (self.chip.flash.start, self.chip.flash.start + self.chip.flash.size_bytes)
            self._machine.set_waits(
                waits_of(self.chip.waits, settings, flash, self.chip.cached_ram)
            )
        return self._clocks is None or self._clocks.works(self.flash_wait_states)

    def _make_flash(self):
        flash = self.chip.flash
        if flash.controller not in FLASH_CONTROLLERS:
            raise NucleoSimError(f"{self.chip.name}: no flash controller {flash.controller!r}.")
        controller = FLASH_CONTROLLERS[flash.controller](flash, self._flash_memory)
        self._machine.map.add_flash(self._flash_memory, flash.starts[1:], controller)
        self._machine.map.add_flash_registers(
            flash.controller_base, _FLASH_CONTROLLER_BYTES, controller
        )
        return controller

    def _map_peripherals(self) -> None:
        blocks = self._blocks.values()
        private = tuple(block for block in blocks if block.block.start >= ppb.START)
        peripherals = ppb.PrivatePeripherals(
            self.chip.core, self._scs, self._cycle_counter, self._breakpoints, private
        )
        self._machine.map.add_exact_device(
            ppb.START,
            ppb.SIZE_BYTES,
            peripherals,
            ppb.DebuggerView(peripherals),
            self._machine.note_position,
        )
        for block in blocks:
            if block not in private:
                self._machine.map.add_device(block.block.start, block.block.size_bytes, block)

    # What a probe does to a board

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read over the AHB-AP. A read of DHCSR lets time pass if the core is running.

        Raises:
            BusError: nothing answers.
        """
        data = self._machine.map.read(address, size_bytes)
        if self._machine.cycles != self._cycles_seen:
            self._note_time()
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write over the AHB-AP.

        Raises:
            BusError: nothing answers.
        """
        self._machine.map.write(address, data)
        if address < ppb.START:
            self._machine.code_changed(address, address + len(data))
        self._note_flash()
        if self._processor.reset_requested:
            self.reset()

    def reset(self, cause: ResetCause = ResetCause.SOFTWARE) -> None:
        """System reset; RAM and debug state stay. `cause` shows in the RCC."""
        self._flash.reset()
        self._scs.reset()
        for block in self._blocks.values():
            block.reset()
        if self._clocks is not None:
            self._clocks.note_reset(cause)
        self._note_flash()
        self._processor.reset()

    def hold_reset(self, asserted: bool) -> None:
        """The probe drives nRESET: the chip does nothing while it is asserted, then restarts."""
        if self._processor.held and not asserted:
            self.reset(ResetCause.PIN)
        self._processor.held = asserted

    def reset_by_pin(self) -> None:
        """The probe pulses nRESET, or a person presses the black button."""
        self.hold_reset(True)
        self.hold_reset(False)

    def _brown_out(self) -> None:
        for index, ram in enumerate(self._rams):
            # What RAM holds after power-up is not zero; a fixed pattern keeps runs repeatable.
            ram.bytes[:] = 0xA5 ^ index
        self._cycle_counter.power_on()
        self._breakpoints.power_on()
        self._processor.power_cycle()
        self.reset(ResetCause.BROWN_OUT)
        self._machine.code_changed(0, 1 << 32)

    def _note_time(self) -> None:
        """After the core may have run: what it did, as seconds of a real board."""
        self._cycles_seen = self._machine.cycles
        self._time.note_core(self._cycles_seen, self._machine.instructions, self.hclk_hz)
        self._note_flash()

    def _note_flash(self) -> None:
        dirty = self._flash.take_dirty()
        if dirty is not None:
            self._time.note_flash(self._flash.erase_count, self._flash.write_count, dirty)
            for base in self.chip.flash.starts:
                self._machine.code_changed(base + dirty[0], base + dirty[1])

    # What a person does to a board

    def inject(self, faults: Faults) -> None:
        """Make these faults the board's faults, instead of those it had."""
        self.faults = faults
        self.swd.inject(faults)
        self._flash.stuck_address = faults.stuck_flash_address
        self._flash.stuck_busy = faults.flash_stuck_busy
        self._flash.refuse_after(faults.flash_error_after)
        now = self._machine.cycles
        effects = (
            (faults.hang_at_cycle, self._hang),
            (faults.hard_fault_at_cycle, self._hard_fault),
            (faults.brown_out_at_cycle, self._brown_out),
        )
        self._processor.alarms = [
            (now + cycle, effect) for cycle, effect in effects if cycle is not None
        ]

    def _hang(self) -> None:
        self._processor.hung = True

    def _hard_fault(self) -> None:
        self._processor.hfsr |= HFSR_VECTTBL
        self._processor.fault(Fault(HARD_FAULT, 0), self._machine.registers.pc)

    def restart_session_time(self) -> None:
        """Begin a new account of `session_seconds`; the probe does when a session opens."""
        self._cycles_seen = self._machine.cycles
        self._time = SessionTime(
            self.chip.flash,
            self._cycles_seen,
            self._machine.instructions,
            self._flash.erase_count,
            self._flash.write_count,
        )
        self.swd.seconds = 0.0

    @property
    def session_seconds(self) -> SessionSeconds:
        """What the session that is open, or was last, would have taken with a real board."""
        return SessionSeconds(self.swd.seconds, self._time.flash_s, self._time.core_s)

    @property
    def slice_cycles(self) -> int:
        """Cycles that pass at each read of DHCSR while the core is running."""
        return self._scs.slice_cycles

    @slice_cycles.setter
    def slice_cycles(self, cycles: int) -> None:
        self._scs.slice_cycles = cycles

    @property
    def instruction_cache_on(self) -> bool:
        """Whether CCR.IC is set; always false on a core without caches."""
        return bool(self._scs.ccr & CCR_IC)

    @property
    def data_cache_on(self) -> bool:
        """Whether CCR.DC is set; always false on a core without caches."""
        return bool(self._scs.ccr & CCR_DC)

    @property
    def hclk_hz(self) -> int:
        """Frequency of the core as it is set; 0 where clocks are not modelled."""
        return 0 if self._clocks is None else self._clocks.hclk_hz

    @property
    def flash_wait_states(self) -> int:
        """Flash wait states as they are set."""
        return self._flash.wait_states

    @property
    def machine(self) -> Machine:
        """The instruction engine, for tools that look below the debug port."""
        return self._machine

    @property
    def cycles(self) -> int:
        """Core cycles since power-on, resets included. CYCCNT is what firmware sees of them."""
        return self._machine.cycles

    @property
    def instructions(self) -> int:
        """Instructions executed since power-on."""
        return self._machine.instructions

    def start_recording(self, entries: Collection[int] = ()) -> Recording:
        """Record all that runs from now on; `entries` are addresses of functions.

        Raises:
            NucleoSimError: it is being recorded already.
        """
        if self._machine.recording is not None:
            raise NucleoSimError(
                f"{self.chip.name}: it is being profiled already. Stop that profile first."
            )
        recording = Recording(entries, self._machine.registers.pc, self._machine.cycles)
        self._machine.record(recording)
        return recording

    def bring_recording_up_to_date(self) -> None:
        """Let the recording have all that has been counted."""
        self._machine.record(self._machine.recording)

    def stop_recording(self) -> None:
        """End the recording; it has all that ran until now."""
        self._machine.record(None)

    @property
    def flash_erase_count(self) -> int:
        """Sectors erased since power-on."""
        return self._flash.erase_count

    @property
    def flash_write_count(self) -> int:
        """Changes to the flash since power-on: erases and programmed words."""
        return self._flash.erase_count + self._flash.write_count

    def flash_image(self) -> bytes:
        """Contents of the whole flash."""
        return self._flash_memory.bytes.tobytes()

    def load_flash_image(self, image: bytes) -> None:
        """Replace the contents of the flash, as it was when the board was last powered."""
        size = self._flash_memory.size_bytes
        if len(image) != size:
            raise NucleoSimError(
                f"{self.chip.name}: flash image of {len(image)} bytes, flash of {size}. "
                "Delete the stored image."
            )
        self._flash_memory.write(self.chip.flash.start, image)
        for base in self.chip.flash.starts:
            self._machine.code_changed(base, base + size)
        self._processor.reset()
