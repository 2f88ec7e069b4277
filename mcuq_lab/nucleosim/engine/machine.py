"""The instruction engine: Unicorn with exact cycle counts. It knows nothing of exceptions."""

from __future__ import annotations

import ctypes

import numpy as np
import unicorn
from unicorn import arm_const as arm

from mcuq_lab.nucleosim.engine import context as layout
from mcuq_lab.nucleosim.engine import hooks
from mcuq_lab.nucleosim.engine.alignment import EntryChecks
from mcuq_lab.nucleosim.engine.blocks import BlockTable
from mcuq_lab.nucleosim.engine.guards import Guards
from mcuq_lab.nucleosim.engine.memory_map import MemoryMap
from mcuq_lab.nucleosim.engine.places import Places
from mcuq_lab.nucleosim.engine.recording import Block, BlockCount, Recording
from mcuq_lab.nucleosim.engine.registers import Registers
from mcuq_lab.nucleosim.engine.stop import Stop, StopKind
from mcuq_lab.nucleosim.engine.unicorn_api import (
    EMU_STOP_ADDRESS,
    REG_READ_ADDRESS,
    add_native_hook,
    address_of,
)
from mcuq_lab.nucleosim.engine.waiting_memory import WaitingMemory
from mcuq_lab.nucleosim.errors import NucleoSimError
from mcuq_lab.nucleosim.thumb import instruction_count, instruction_size, step_size
from mcuq_lab.nucleosim.timing import BlockCost, Place, TimingModel
from mcuq_lab.nucleosim.timing.waits import Waits

CPU_MODELS = {"cortex-m4": arm.UC_CPU_ARM_CORTEX_M4, "cortex-m7": arm.UC_CPU_ARM_CORTEX_M7}

# Exception numbers of the CPU emulator, as UC_HOOK_INTR gives them.
_INTERRUPTS = {2: StopKind.SVC, 3: StopKind.FETCH_FAULT, 7: StopKind.BKPT}

_HOOK_STOPS = {
    layout.STOP_LIMIT: StopKind.LIMIT,
    layout.STOP_BREAKPOINT: StopKind.BREAKPOINT,
    layout.STOP_UNALIGNED: StopKind.UNALIGNED,
    layout.STOP_NO_FPU: StopKind.NO_FPU,
    layout.STOP_DIVIDE_BY_ZERO: StopKind.DIVIDE_BY_ZERO,
}

_NO_CHECKS = EntryChecks((), all_known=True, kept=True)
_CHECK_EACH_ACCESS = EntryChecks((), all_known=False, kept=False)

# An IT instruction and four wide ones.
_LONGEST_STEP_BYTES = 18

_YIELD = b"\x10\xbf"

# An address that no instruction has, so that only hooks end a run.
_NOWHERE = 0xFFFFFFFF

_RESOLVE = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Machine:
    """Runs Thumb code from memory and counts its cycles."""

    def __init__(self, core: str, timing: TimingModel) -> None:
        """An engine for `core` ("cortex-m4") with an empty memory map."""
        if core not in CPU_MODELS:
            raise NucleoSimError(f"no engine for core {core!r}; known: {', '.join(CPU_MODELS)}.")
        # UC_MODE_MCLASS would turn any CPU model into a Cortex-M33.
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB)
        self._uc.ctl_set_cpu_model(CPU_MODELS[core])
        self.timing = timing
        self._context = np.zeros(layout.SIZE, dtype=np.int64)
        self._waits = WaitingMemory(self._uc, self._context)
        self.map = MemoryMap(self._uc, self._waits.add)
        self.registers = Registers(self._uc)
        self._blocks = BlockTable(timing, self._read_code)
        self.recording: Recording | None = None
        self._event: Stop | None = None
        self._failure: BaseException | None = None
        self._cycles_in_block = 0
        self._fpu_wanted = False
        self._places = Places(timing, self.registers)
        self._guards = Guards(self._uc, self._context)
        self._resolve_callback = _RESOLVE(self._resolve)
        context = self._context
        context[layout.ROW] = layout.NO_ROW
        context[layout.STATE] = timing.initial_state
        context[layout.ROWS_ADDRESS] = self._blocks.rows_address
        context[layout.HASH_ADDRESS] = self._blocks.hash_address
        context[layout.EMU_STOP] = EMU_STOP_ADDRESS
        context[layout.REG_READ] = REG_READ_ADDRESS
        context[layout.RESOLVE] = address_of(self._resolve_callback)
        context[layout.MEMORIES_ADDRESS] = self._places.pages_address
        context[layout.PLACE_MASK] = timing.place_mask
        context[layout.PREDICTOR_ADDRESS] = self._blocks.predictor_address
        context[layout.ENDS_ADDRESS] = self._blocks.ends_address
        add_native_hook(self._uc, unicorn.UC_HOOK_BLOCK, hooks.block_hook, context)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._on_interrupt)
        self._uc.hook_add(unicorn.UC_HOOK_INSN_INVALID, self._on_invalid_instruction)
        bad_accesses = unicorn.UC_HOOK_MEM_UNMAPPED | unicorn.UC_HOOK_MEM_FETCH_PROT
        self._uc.hook_add(bad_accesses, self._on_bad_access)

    @property
    def cycles(self) -> int:
        """Cycles since the engine was made; exact when it has stopped, and in `before_access`."""
        return int(self._context[layout.CYCLES]) + self._cycles_in_block

    @property
    def instructions(self) -> int:
        """Instructions since the engine was made; exact when it has stopped."""
        return int(self._context[layout.INSTRUCTIONS])

    def run(self, limit_cycles: int) -> Stop:
        """Run until `cycles` reaches the limit (at a block's start) or something happens."""
        context = self._context
        context[layout.LIMIT] = limit_cycles
        while True:
            self._switch_fpu()
            stop = self._emulate(count=0)
            if context[layout.STOP] == layout.STOP_RESOLVE:
                self._guards.install_pending()
                self._uc.ctl_flush_tb()
            elif context[layout.STOP] == layout.STOP_SUSPECT:
                self._guards.suspect(int(context[layout.STOP_ADDRESS]))
                self._blocks.clear()
            elif stop.kind is StopKind.FLASH_STORE:
                self._store_to_flash()
            elif stop.kind is StopKind.FETCH_FAULT and self._waits.met_code(stop.address):
                self._uc.ctl_flush_tb()
            elif stop.kind is not StopKind.NO_FPU or not self._fpu_wanted:
                return stop

    def step(self) -> Stop:
        """Run one instruction; an IT instruction runs together with the ones it governs."""
        self._switch_fpu()
        stop = self._step()
        while stop.kind is StopKind.FETCH_FAULT and self._waits.met_code(stop.address):
            stop = self._step()
        return self._store_to_flash() if stop.kind is StopKind.FLASH_STORE else stop

    def _store_to_flash(self) -> Stop:
        controller = self.map.flash_controller
        controller.begin_forced_stores()
        stop = self._step()
        controller.end_forced_stores()
        return stop

    def _step(self) -> Stop:
        pc = self.registers.pc
        code = self._code_of_step(pc)
        self._prepare_step(pc, code)
        places = self._places.of(self._blocks.bases(code))
        before = self.cycles
        self._uc.ctl_flush_tb()  # what was translated in a run would run as a whole block
        self._context[layout.MUTED] = 1
        stop = self._emulate(count=1)
        self._context[layout.MUTED] = 0
        on_top = self.cycles - before
        left = stop.kind is StopKind.FETCH_FAULT and self.registers.pc != pc  # for where no code is
        if left or stop.kind in (StopKind.LIMIT, StopKind.SVC, StopKind.WAIT):
            self._count_step(pc, code, places, on_top)
        elif self.recording is not None:
            self.recording.outside(on_top)
        return stop

    def next_address(self) -> int:
        """Address of the instruction behind the one at the program counter."""
        pc = self.registers.pc
        return pc + instruction_size(self._read_code(pc, 2))

    def add_cycles(self, cycles: int) -> None:
        """Let time pass that no instruction takes (an exception's entry or return)."""
        self._context[layout.CYCLES] += cycles
        if self.recording is not None:
            self.recording.outside(cycles)

    def forget_pipeline(self) -> None:
        """The next instruction starts with an empty pipeline (after a jump from outside)."""
        self._context[layout.STATE] = self.timing.initial_state

    def forget_branches(self) -> None:
        """The branch predictor is empty, as after a reset."""
        self._blocks.forget_branches()
        self._forget_translations()

    def stop_soon(self) -> None:
        """End `run` at the next block: for a device that changed the processor's state."""
        self._context[layout.LIMIT] = 0

    @property
    def limit_address(self) -> int:
        """Host address of a word that, set to 0, does what `stop_soon` does: for compiled code."""
        return int(self._context.ctypes.data) + self._context.itemsize * layout.LIMIT

    def note_position(self) -> None:
        """Make `cycles` exact at the access that is being made (see add_exact_device)."""
        row = int(self._context[layout.ROW])
        if row == layout.NO_ROW:
            return
        block = self._blocks.block_of(row)
        offset = self.registers.pc - block.address
        if 0 <= offset < block.size_bytes:
            cost = self._cost_until(block, offset)
            self._cycles_in_block = cost.cycles_fallthrough

    def set_waits(self, waits: Waits) -> None:
        """Let the memories make the core wait like this; caches start empty if that is new."""
        if waits != self._waits.current:
            self._waits.set(waits)
            self._forget_translations()

    def record(self, recording: Recording | None) -> None:
        """Tell a recording of all that runs from now on; None ends it. Not while code runs.

        The recording before has then all that has been counted, also if it is to go on.
        """
        self._blocks.clear()
        self.recording = self._blocks.recording = recording
        self._context[layout.CALLS] = 0 if recording is None else recording.calls.host_address

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """Stop before the instruction at each of these addresses, and no others."""
        if self._guards.set_breakpoints(addresses):
            self._forget_translations()

    def enable_fpu(self, enabled: bool) -> None:
        """Let floating-point instructions run, or stop before each.

        Takes effect when the engine runs next: translations cannot be dropped under a device's
        call from the core.
        """
        self._fpu_wanted = enabled
        self.stop_soon()

    def _switch_fpu(self) -> None:
        if self._fpu_wanted != self._guards.fpu_enabled:
            self._guards.fpu_enabled = self._fpu_wanted
            self._forget_translations()

    def trap_divisions(self, enabled: bool) -> None:
        """Stop before a division by zero, or let it give 0."""
        self._context[layout.DIVIDE_TRAPS] = int(enabled)

    def code_changed(self, start: int, end: int) -> None:
        """Memory in [start, end) was written from outside: forget what was made of its code."""
        if self._blocks.has_code_in(start, end):
            self._waits.forget_code()
            self._forget_translations()

    def check_code(self) -> None:
        """Forget costs of code that a program has overwritten (code that it copies to RAM)."""
        if self._blocks.is_stale():
            self._forget_translations()

    def _forget_translations(self) -> None:
        self._blocks.clear()
        self._guards.clear()
        self._uc.ctl_flush_tb()

    def _read_code(self, address: int, size_bytes: int) -> bytes:
        return self.map.read_memory(address, size_bytes) or b""

    # Running

    def _emulate(self, count: int) -> Stop:
        context = self._context
        context[layout.STOP] = layout.STOP_NONE
        self._event = None
        self._cycles_in_block = 0
        try:
            self._uc.emu_start(self.registers.pc | 1, _NOWHERE, count=count)
        except unicorn.UcError as error:
            if error.errno == unicorn.UC_ERR_WRITE_PROT:
                self._event = Stop(StopKind.FLASH_STORE)
            if self._event is None:
                raise NucleoSimError(
                    f"the engine failed at pc={self.registers.pc:#010x}: {error}"
                ) from error
        finally:
            self._cycles_in_block = 0
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        self._settle()
        if self._event is not None:
            return self._event
        if context[layout.STOP] in _HOOK_STOPS:
            return Stop(_HOOK_STOPS[int(context[layout.STOP])], int(context[layout.STOP_ADDRESS]))
        if count or context[layout.STOP] in (layout.STOP_RESOLVE, layout.STOP_SUSPECT):
            return Stop(StopKind.LIMIT)
        # Unicorn comes back without a word from WFI, WFE and YIELD; the last does not wait.
        waits = self._read_code(self.registers.pc - 2, 2) != _YIELD
        return Stop(StopKind.WAIT if waits else StopKind.LIMIT)

    def _settle(self) -> None:
        """Count the part of the current block that has run, up to the program counter."""
        context = self._context
        row = int(context[layout.ROW])
        if row == layout.NO_ROW:
            return
        context[layout.ROW] = layout.NO_ROW
        block = self._blocks.block_of(row)
        offset = self.registers.pc - block.address
        ran = offset if 0 <= offset <= block.size_bytes else block.size_bytes
        cost = self._cost_until(block, ran)
        taken = ran != offset
        context[layout.CYCLES] += cost.cycles_taken if taken else cost.cycles_fallthrough
        context[layout.STATE] = cost.exit_taken if taken else cost.exit_fallthrough
        code = self._read_code(block.address, ran)
        context[layout.INSTRUCTIONS] += instruction_count(code)
        if self.recording is not None and ran:
            part = Block(block.address, ran, block.state, block.places)
            count = BlockCount(part, code, int(not taken), int(taken))
            self.recording.add_part(count, self.registers.pc, self.cycles)

    def _cost_until(self, block: Block, size_bytes: int) -> BlockCost:
        """Cost of the first bytes of a block."""
        code = self._read_code(block.address, size_bytes)
        return self._blocks.cost(block.address, code, block.state, block.places)

    def _code_of_step(self, pc: int) -> bytes:
        # The memory may end behind the instruction.
        for size_bytes in (_LONGEST_STEP_BYTES, 4, 2):
            if code := self._read_code(pc, size_bytes):
                return code[: step_size(code, self.registers.it_state)]
        return b""

    def _prepare_step(self, pc: int, code: bytes) -> None:
        dynamic = self._cost_of_step(pc, code).dynamic
        if self._guards.wants(pc, code, dynamic, _CHECK_EACH_ACCESS):
            self._guards.install_pending()

    def _cost_of_step(self, pc: int, code: bytes, places: tuple[Place, ...] = ()) -> BlockCost:
        return self._blocks.cost(pc, code, int(self._context[layout.STATE]), places)

    def _count_step(self, pc: int, code: bytes, places: tuple[Place, ...], on_top: int) -> None:
        """Count an instruction that has run; `on_top` are cycles that hooks have counted."""
        context = self._context
        state = int(context[layout.STATE])
        offset = self.registers.pc - pc
        taken = not 0 < offset <= len(code)
        ran = code if taken else code[:offset]  # SVC and WFI end an IT block too soon
        cost = self._cost_of_step(pc, ran, places)
        cycles = cost.cycles_taken if taken else cost.cycles_fallthrough
        context[layout.STATE] = cost.exit_taken if taken else cost.exit_fallthrough
        waits = self._waits.code_cycles(pc, len(ran), cycles)
        branch = self._blocks.predict(pc + len(ran), cost, taken)
        context[layout.CYCLES] += cycles + waits + branch
        context[layout.INSTRUCTIONS] += instruction_count(ran)
        if self.recording is not None:
            step = Block(pc, len(ran), state, places)
            divide, data = (on_top, 0) if cost.dynamic else (0, on_top)
            ways = int(not taken), int(taken)
            count = BlockCount(step, ran, *ways, divide, branch, waits, data)
            self.recording.add_part(count, self.registers.pc, self.cycles)

    # Calls from the engine

    def _resolve(self, address: int, size: int, state: int) -> int:
        """Row of a block that the hook has not met; NO_ROW to have it stopped and started again."""
        try:
            if self._blocks.is_full:
                self._blocks.clear()
                self._context[layout.ROW] = layout.NO_ROW
            code = self._read_code(address, size)
            if not code:
                self._event = Stop(StopKind.FETCH_FAULT, address)  # the registers of a device
                return layout.NO_ROW
            checks = self._blocks.checks(code)
            places = self._places.of(self._blocks.bases(code))
            dynamic = self._blocks.cost(address, code, state, places).dynamic
            if self._guards.wants(address, code, dynamic, checks):
                self._context[layout.STOP] = layout.STOP_RESOLVE
                return layout.NO_ROW
            if self._guards.is_suspect(address):
                checks = _NO_CHECKS
            return self._blocks.add(address, code, state, places, checks)
        except BaseException as error:  # must not cross the compiled caller: raised again after it
            self._failure = error
            return layout.NO_ROW

    def _on_interrupt(self, uc: unicorn.Uc, number: int, _data) -> None:
        pc = self.registers.pc
        self._event = Stop(_INTERRUPTS.get(number, StopKind.UNDEFINED), pc)
        uc.emu_stop()

    def _on_invalid_instruction(self, _uc: unicorn.Uc, _data) -> bool:
        thumb = self.registers.read(16) & 1 << 24
        self._event = Stop(StopKind.UNDEFINED if thumb else StopKind.ARM_STATE)
        return False

    def _on_bad_access(self, _uc, access: int, address: int, _size, _value, _data) -> bool:
        kinds = {
            unicorn.UC_MEM_READ_UNMAPPED: StopKind.READ_FAULT,
            unicorn.UC_MEM_WRITE_UNMAPPED: StopKind.WRITE_FAULT,
            unicorn.UC_MEM_FETCH_UNMAPPED: StopKind.FETCH_FAULT,
            unicorn.UC_MEM_FETCH_PROT: StopKind.FETCH_FAULT,
        }
        self._event = Stop(kinds[access], address)
        return False
