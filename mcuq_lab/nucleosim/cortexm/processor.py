"""The processor as a debugger and its firmware see it: run control, exceptions, reset.

Time passes only in `advance` and `step`, which the debugger's accesses call: a run depends on
nothing but what was asked for, in which order.
"""

from __future__ import annotations

from collections.abc import Callable

from mcuq_lab.nucleosim.cortexm import faults, stacking
from mcuq_lab.nucleosim.cortexm.faults import Fault
from mcuq_lab.nucleosim.engine import registers as reg
from mcuq_lab.nucleosim.engine.machine import Machine
from mcuq_lab.nucleosim.engine.memory_map import BusError
from mcuq_lab.nucleosim.engine.stop import Stop, StopKind

# DFSR
DFSR_HALTED = 1 << 0
DFSR_BKPT = 1 << 1
DFSR_VCATCH = 1 << 3

_DISDEFWBUF = 1 << 1  # in ACTLR: writes are not buffered
_EXC_RETURN_FIRST = 0xFFFFFFE0
_NO_PRIORITY = 256  # lower than any exception


class Processor:
    """State of one ARMv7-M processor beyond its registers.

    `cfsr`, `hfsr`, `bfar`, `shcsr`, `vtor`, `actlr`, `demcr`, `dfsr` are the registers of these
    names; the System Control Space reads and writes them.
    """

    def __init__(
        self, machine: Machine, boot_address: Callable[[], int], on_reset: Callable[[], None]
    ) -> None:
        """A processor that does not run before the first `reset`.

        `boot_address` says where the vectors are after a reset (VTOR's reset value); `on_reset`
        puts the rest of the chip back when software asks for a reset.
        """
        self.machine = machine
        self._boot_address = boot_address
        self._on_reset = on_reset
        self.debug_enabled = False
        self.demcr = 0
        self.dfsr = 0
        self.mask_interrupts = False
        self.reset_sticky = True
        self.retired_sticky = False
        self.reset_requested = False
        self.hung = False
        self.held = False
        """Whether nRESET is low."""
        self.before_run: Callable[[], bool] = lambda: True
        """Called before instructions run, to tell the machine what the chip's registers ask of it.
        Whether the chip works at the clock that is set; if not, the core hangs until reset."""
        self.alarms: list[tuple[int, Callable[[], None]]] = []
        """What happens from outside, and at which cycle of the machine."""
        self._clear()

    def _clear(self) -> None:
        self.halted = False
        self.sleeping = False
        self.locked_up = False
        self.event_registered = False
        self.vtor = 0
        self.cfsr = self.hfsr = self.shcsr = 0
        self.bfar = 0
        self.actlr = 0
        self.priorities: dict[int, int] = {}
        self.pending: set[int] = set()
        self.active: list[int] = []

    # Reset

    def reset(self) -> None:
        """System reset: registers and control state; debug state stays (it has its own reset)."""
        self._clear()
        self.vtor = self._boot_address()
        self.reset_requested = False
        self.hung = False
        self.reset_sticky = True
        registers = self.machine.registers
        self.machine.enable_fpu(False)
        self.machine.trap_divisions(False)
        registers.write(reg.CONTROL_BYTES, 0)
        registers.write(reg.XPSR, 1 << 24)
        for number in range(13):
            registers.write(number, 0)
        for number in range(32):
            registers.write(reg.S0 + number, 0)
        registers.write(reg.FPSCR, 0)
        registers.write(reg.PSP, 0)
        registers.write(reg.LR, 0xFFFFFFFF)
        registers.write(reg.MSP, self._vector(0))
        registers.pc = self._vector(1)
        self.machine.forget_pipeline()
        self.machine.forget_branches()
        if self.machine.recording is not None:
            self.machine.recording.calls.restart(self.machine.cycles)
        if self.debug_enabled and self.demcr & faults.VC_CORERESET:
            self.halt(DFSR_VCATCH)

    def power_cycle(self) -> None:
        """Power-on reset: debug state is lost too."""
        self.debug_enabled = False
        self.demcr = self.dfsr = 0
        self.reset()

    def _vector(self, index: int) -> int:
        try:
            return int.from_bytes(self.machine.map.read(self.vtor + 4 * index, 4), "little")
        except BusError:
            return 0

    # Run control

    @property
    def running(self) -> bool:
        """Whether instructions run when time passes."""
        stuck = self.held or self.hung or self.locked_up
        return not (self.halted or self.sleeping or stuck)

    def halt(self, cause: int = DFSR_HALTED) -> None:
        """Enter debug state; `cause` is what DFSR shows."""
        if not self.halted:
            self.halted = True
            self.sleeping = False
            self.dfsr |= cause

    def resume(self) -> None:
        """Leave debug state."""
        if self.halted:
            self.halted = False
            self.machine.check_code()

    def advance(self, cycles: int) -> None:
        """Let `cycles` pass, or fewer if the core stops running before."""
        end = self.machine.cycles + cycles
        while not self.halted and self.machine.cycles < end:
            if self._ring_alarms():
                continue
            self.hung |= not self.before_run()
            until = min([end, *(cycle for cycle, _ in self.alarms)])
            self._take_pending()
            if self.running:
                # A masked exception may be unmasked by any instruction: look after each block.
                self._run(self.machine.cycles + 1 if self.pending else until)
            elif not self.halted:
                self.machine.add_cycles(until - self.machine.cycles)

    def _run(self, until: int) -> None:
        before = self.machine.instructions
        stop = self.machine.run(until)
        self.retired_sticky |= self.machine.instructions != before
        self._handle(stop)
        if self.reset_requested:
            self._on_reset()

    def _ring_alarms(self) -> bool:
        due = [alarm for alarm in self.alarms if alarm[0] <= self.machine.cycles]
        for alarm in due:
            self.alarms.remove(alarm)
            alarm[1]()
        return bool(due)

    def step(self) -> None:
        """Run one instruction and halt."""
        self.halted = False
        self.machine.check_code()
        self.hung |= not self.before_run()
        if not self.mask_interrupts:
            self._take_pending()
        if self.running:
            self.retired_sticky = True
            self._handle(self.machine.step())
            if self.reset_requested:
                self._on_reset()
        self.halt(DFSR_HALTED)

    def _handle(self, stop: Stop) -> None:
        kind = stop.kind
        if kind is StopKind.LIMIT:
            return
        if kind is StopKind.BKPT or kind is StopKind.BREAKPOINT:
            self._debug_event()
        elif kind is StopKind.SVC:
            self._take(faults.SVCALL, self.machine.registers.pc)
        elif kind is StopKind.WAIT:
            self.sleeping = not self.pending and not self.event_registered
            self.event_registered = False
        elif kind is StopKind.FETCH_FAULT and self._is_exception_return():
            self._return_from_exception()
        elif kind is StopKind.WRITE_FAULT and not self.actlr & _DISDEFWBUF:
            # The write buffer has let the core go on when the error comes back.
            self.fault(Fault(faults.BUS_FAULT, faults.IMPRECISERR), self.machine.next_address())
        else:
            pc = self.machine.registers.pc
            self.fault(_fault_of(stop, pc), pc)

    def _debug_event(self) -> None:
        if self.debug_enabled:
            self.halt(DFSR_BKPT)
            return
        self.hfsr |= faults.HFSR_DEBUGEVT
        self._take(faults.HARD_FAULT, self.machine.registers.pc)

    # Exceptions

    def fault(self, fault: Fault, return_address: int) -> None:
        """Take a fault, as HardFault if its own handler is off or cannot run now."""
        self.cfsr |= fault.cfsr
        if fault.bfar is not None:
            self.bfar = fault.bfar
            self.cfsr |= faults.BFARVALID
        enabled = self.shcsr & faults.SHCSR_ENABLE.get(fault.exception, 0)
        if fault.exception == faults.HARD_FAULT:
            self._take(faults.HARD_FAULT, return_address, fault.cfsr)
        elif enabled and self._priority(fault.exception) < self._current_priority():
            self._take(fault.exception, return_address, fault.cfsr)
        else:
            self.hfsr |= faults.HFSR_FORCED
            self._take(faults.HARD_FAULT, return_address, fault.cfsr)

    def _take(self, exception: int, return_address: int, cfsr: int = 0) -> None:
        if self._priority(exception) >= self._current_priority():
            if exception == faults.HARD_FAULT:
                self.locked_up = True
                return
            # A call that cannot be served now is a HardFault.
            self.hfsr |= faults.HFSR_FORCED
            self._take(faults.HARD_FAULT, return_address)
            return
        try:
            stacking.push_frame(self.machine, return_address)
        except BusError:
            self.cfsr |= faults.STKERR
            if exception != faults.HARD_FAULT:
                self.hfsr |= faults.HFSR_FORCED
                exception = faults.HARD_FAULT
        handler = self._vector(exception)
        self.active.append(exception)
        stacking.enter_handler(self.machine, exception, handler)
        if not handler & 1:
            self.cfsr |= faults.INVSTATE
            self.hfsr |= faults.HFSR_FORCED if handler else faults.HFSR_VECTTBL
            self.locked_up = True
        elif self.debug_enabled and self.demcr & faults.vector_catch_bits(exception, cfsr):
            self.halt(DFSR_VCATCH)

    def _take_pending(self) -> None:
        for exception in sorted(self.pending, key=self._priority):
            if self._priority(exception) < self._current_priority():
                self.pending.discard(exception)
                self.sleeping = False
                self._take(exception, self.machine.registers.pc)
                return

    def _is_exception_return(self) -> bool:
        in_handler = self.machine.registers.exception != 0
        return in_handler and self.machine.registers.pc >= _EXC_RETURN_FIRST

    def _return_from_exception(self) -> None:
        exc_return = self.machine.registers.pc | 1
        number = self.machine.registers.exception
        if exc_return & 0xF not in (0x1, 0x9, 0xD) or number not in self.active:
            self.fault(Fault(faults.USAGE_FAULT, faults.INVPC), self.machine.registers.pc)
            return
        self.active.remove(number)
        try:
            stacking.pop_frame(self.machine, exc_return)
        except BusError:
            self.fault(Fault(faults.BUS_FAULT, faults.UNSTKERR), self.machine.registers.pc)

    def _priority(self, exception: int) -> int:
        fixed = {faults.NMI: -2, faults.HARD_FAULT: -1}
        return fixed.get(exception, self.priorities.get(exception, 0))

    def _current_priority(self) -> int:
        masks = self.machine.registers.read(reg.CONTROL_BYTES)
        priority = min((self._priority(number) for number in self.active), default=_NO_PRIORITY)
        if masks >> 8 & 0xFF:
            priority = min(priority, masks >> 8 & 0xFF)
        if masks & 1:
            priority = min(priority, 0)
        if masks >> 16 & 1:
            priority = min(priority, -1)
        return priority


def _never_holds_code(address: int) -> bool:
    """Peripherals, devices and the system region (ARMv7-M reference manual, B3.1)."""
    return 0x40000000 <= address < 0x60000000 or address >= 0xA0000000


def _fault_of(stop: Stop, pc: int) -> Fault:
    kind = stop.kind
    if kind is StopKind.READ_FAULT:
        return Fault(faults.BUS_FAULT, faults.PRECISERR, stop.address)
    if kind is StopKind.WRITE_FAULT:
        return Fault(faults.BUS_FAULT, faults.PRECISERR, stop.address)
    if kind is StopKind.FETCH_FAULT and _never_holds_code(pc):
        return Fault(faults.MEM_MANAGE, faults.IACCVIOL)
    if kind is StopKind.FETCH_FAULT:
        return Fault(faults.BUS_FAULT, faults.IBUSERR)
    usage = {
        StopKind.NO_FPU: faults.NOCP,
        StopKind.ARM_STATE: faults.INVSTATE,
        StopKind.UNALIGNED: faults.UNALIGNED,
        StopKind.DIVIDE_BY_ZERO: faults.DIVBYZERO,
    }
    return Fault(faults.USAGE_FAULT, usage.get(kind, faults.UNDEFINSTR))
