"""System Control Space at 0xE000E000: system control block, debug control, the rest as storage."""

from __future__ import annotations

from mcuq_lab.nucleosim.chip import Core
from mcuq_lab.nucleosim.cortexm import faults
from mcuq_lab.nucleosim.cortexm.caches import CacheRegisters
from mcuq_lab.nucleosim.cortexm.features import core_features
from mcuq_lab.nucleosim.cortexm.processor import Processor
from mcuq_lab.nucleosim.engine import registers as reg

_ACTLR = 0x008
_CPUID = 0xD00
_ICSR = 0xD04
_VTOR = 0xD08
_AIRCR = 0xD0C
_CCR = 0xD14
_SHPR1 = 0xD18
_SHCSR = 0xD24
_CFSR = 0xD28
_HFSR = 0xD2C
_DFSR = 0xD30
_MMFAR = 0xD34
_BFAR = 0xD38
_CPACR = 0xD88
_DHCSR = 0xDF0
_DCRSR = 0xDF4
_DCRDR = 0xDF8
_DEMCR = 0xDFC

_DISDEFWBUF = 1 << 1
_DIV_0_TRP = 1 << 4
CCR_DC, CCR_IC = 1 << 16, 1 << 17
_DEBUG_KEY = 0xA05F
_C_DEBUGEN, _C_HALT, _C_STEP, _C_MASKINTS = 1, 2, 4, 8
_S_REGRDY, _S_HALT, _S_SLEEP, _S_LOCKUP = 1 << 16, 1 << 17, 1 << 18, 1 << 19
_S_RETIRE_ST, _S_RESET_ST = 1 << 24, 1 << 25

_VECTOR_KEY = 0x05FA
_SYSRESETREQ, _VECTCLRACTIVE, _VECTRESET = 4, 2, 1


class SystemControlSpace:
    """Registers by offset from 0xE000E000. What is not named keeps what is written to it.

    Attributes:
        ccr: Configuration and Control Register.
        slice_cycles: cycles that pass at each read of DHCSR while the core is running.
    """

    def __init__(self, processor: Processor, core: Core, slice_cycles: int) -> None:
        """Each read of DHCSR by the debugger lets `slice_cycles` pass if the core is running."""
        self._processor = processor
        self._cpuid = core.cpuid
        self._features = core_features(core.name)
        self._caches = CacheRegisters(core) if self._features.has_caches else None
        self.ccr = self._features.ccr_reset
        self.slice_cycles = slice_cycles
        self._storage: dict[int, int] = {}
        self._dcrdr = 0
        self._step = False

    def reset(self) -> None:
        """System reset."""
        self._storage.clear()
        self.ccr = self._features.ccr_reset
        if self._caches is not None:
            self._caches.reset()

    def read(self, offset: int, debugger: bool) -> int:
        """Value of a register; some answer the debugger in another way than the core."""
        processor = self._processor
        if offset == _DHCSR:
            return self._read_dhcsr() if debugger else int(processor.debug_enabled)
        if offset == _DCRDR:
            return self._dcrdr
        if offset in self._features.id_registers:
            return self._features.id_registers[offset]
        if self._caches is not None and self._caches.holds(offset):
            return self._caches.read(offset)
        if _SHPR1 <= offset < _SHCSR:
            return self._read_priorities(offset)
        values = {
            _CPUID: self._cpuid,
            _ICSR: self._read_icsr(),
            _ACTLR: processor.actlr,
            _VTOR: processor.vtor,
            _AIRCR: 0xFA050000,
            _CCR: self.ccr,
            _SHCSR: processor.shcsr,
            _CFSR: processor.cfsr,
            _HFSR: processor.hfsr,
            _DFSR: processor.dfsr,
            _BFAR: processor.bfar,
            _MMFAR: processor.bfar,
            _DEMCR: processor.demcr,
        }
        if offset in values:
            return values[offset]
        return self._storage.get(offset, 0)

    def write(self, offset: int, value: int, debugger: bool) -> None:
        """Write a register."""
        processor = self._processor
        if offset == _DHCSR:
            if debugger:
                self._write_dhcsr(value)
        elif offset == _DCRSR:
            self._transfer_register(value)
        elif offset == _DCRDR:
            self._dcrdr = value
        elif offset == _AIRCR:
            if value >> 16 == _VECTOR_KEY:
                self._write_aircr(value, debugger)
        elif offset == _ICSR:
            self._write_icsr(value)
        elif offset == _VTOR:
            processor.vtor = value & ~0x7F
        elif offset == _ACTLR:
            reserved = 0 if self._features.can_unbuffer_writes else _DISDEFWBUF
            processor.actlr = value & ~reserved
        elif offset == _CCR:
            self._write_ccr(value)
        elif _SHPR1 <= offset < _SHCSR:
            self._write_priorities(offset, value)
        elif offset == _SHCSR:
            processor.shcsr = value
        elif offset == _CFSR:
            processor.cfsr &= ~value
        elif offset == _HFSR:
            processor.hfsr &= ~value
        elif offset == _DFSR:
            processor.dfsr &= ~value
        elif offset == _DEMCR:
            processor.demcr = value
        elif offset == _CPACR:
            self._storage[offset] = value & 0x00F00000
            processor.machine.enable_fpu(value >> 20 & 0xF == 0xF)
        elif self._caches is not None and self._caches.holds(offset):
            self._caches.write(offset, value)
        else:
            self._storage[offset] = value

    def _write_ccr(self, value: int) -> None:
        writable = self._features.ccr_writable
        self.ccr = value & writable | self._features.ccr_reset & ~writable
        self._processor.machine.stop_soon()  # caches may be switched: cycles change from here on
        self._processor.machine.trap_divisions(bool(value & _DIV_0_TRP))

    # Debug control

    def _read_dhcsr(self) -> int:
        processor = self._processor
        if not processor.halted:
            processor.advance(self.slice_cycles)
        value = _S_REGRDY
        value |= _C_DEBUGEN if processor.debug_enabled else 0
        value |= _C_HALT | _S_HALT if processor.halted else 0
        value |= _C_MASKINTS if processor.mask_interrupts else 0
        value |= _C_STEP if self._step else 0
        value |= _S_SLEEP if processor.sleeping else 0
        value |= _S_LOCKUP if processor.locked_up and not processor.halted else 0
        value |= _S_RETIRE_ST if processor.retired_sticky else 0
        value |= _S_RESET_ST if processor.reset_sticky else 0
        processor.retired_sticky = processor.reset_sticky = False
        return value

    def _write_dhcsr(self, value: int) -> None:
        processor = self._processor
        if value >> 16 != _DEBUG_KEY:
            return
        processor.debug_enabled = bool(value & _C_DEBUGEN)
        if not processor.debug_enabled:
            self._step = False
            processor.mask_interrupts = False
            processor.resume()
            return
        processor.mask_interrupts = bool(value & _C_MASKINTS)
        self._step = bool(value & _C_STEP)
        if value & _C_HALT:
            processor.halt()
        elif processor.halted and self._step:
            processor.step()
        else:
            processor.resume()

    def _transfer_register(self, value: int) -> None:
        processor = self._processor
        if not processor.halted:
            return
        registers = processor.machine.registers
        number = value & 0x7F
        if not value & 1 << 16:
            self._dcrdr = registers.read(number)
            return
        registers.write(number, self._dcrdr)
        if number == reg.PC:
            processor.locked_up = False
            processor.machine.forget_pipeline()
        elif number == reg.XPSR and not self._dcrdr & 0x1FF:
            processor.active.clear()

    def _write_aircr(self, value: int, debugger: bool) -> None:
        if value & (_SYSRESETREQ | _VECTRESET):
            self._processor.reset_requested = True
            if not debugger:
                self._processor.machine.stop_soon()
        elif value & _VECTCLRACTIVE and debugger:
            self._processor.active.clear()

    # System handlers

    def _read_icsr(self) -> int:
        processor = self._processor
        value = processor.machine.registers.exception
        value |= 1 << 28 if faults.PENDSV in processor.pending else 0
        value |= 1 << 26 if faults.SYSTICK in processor.pending else 0
        return value | (1 << 11 if len(processor.active) <= 1 else 0)

    def _write_icsr(self, value: int) -> None:
        pending = self._processor.pending
        sets = ((31, faults.NMI), (28, faults.PENDSV), (26, faults.SYSTICK))
        clears = ((27, faults.PENDSV), (25, faults.SYSTICK))
        pending.update(exception for bit, exception in sets if value >> bit & 1)
        pending.difference_update(exception for bit, exception in clears if value >> bit & 1)
        self._processor.machine.stop_soon()

    def _read_priorities(self, offset: int) -> int:
        first = 4 + offset - _SHPR1
        priorities = self._processor.priorities
        return sum(priorities.get(first + index, 0) << 8 * index for index in range(4))

    def _write_priorities(self, offset: int, value: int) -> None:
        first = 4 + offset - _SHPR1
        for index in range(4):
            # Four bits of priority are implemented, the upper ones.
            self._processor.priorities[first + index] = value >> 8 * index & 0xF0
