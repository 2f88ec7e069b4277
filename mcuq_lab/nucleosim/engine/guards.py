"""Instructions that need a look before they run: breakpoints, divisions, alignment, FPU use."""

from __future__ import annotations

import numpy as np
import unicorn
from unicorn import arm_const as arm

from mcuq_lab.nucleosim.engine import hooks
from mcuq_lab.nucleosim.engine.alignment import EntryChecks
from mcuq_lab.nucleosim.engine.unicorn_api import add_native_hook, remove_native_hook
from mcuq_lab.nucleosim.thumb import ALWAYS, ThumbInstruction, all_instructions
from mcuq_lab.nucleosim.timing import DynamicCost

_Guard = tuple[int, ...]


class Guards:
    """Instruction hooks of one engine, installed when the block that needs them is first met.

    Unicorn puts a hook into a block when it translates it, so a new hook needs the block
    translated anew: `wants` says so, and the caller flushes after `install_pending`. There should
    be few of them: Unicorn walks through all when it comes to any.
    """

    def __init__(self, uc: unicorn.Uc, context: np.ndarray) -> None:
        self._uc = uc
        self._context_address = context.ctypes.data
        self._installed: dict[tuple[int, _Guard], tuple[int, np.ndarray]] = {}
        self._pending: list[tuple[int, _Guard]] = []
        self._breakpoints: frozenset[int] = frozenset()
        self._suspects: set[int] = set()
        self.fpu_enabled = False

    def set_breakpoints(self, addresses: frozenset[int]) -> bool:
        """Choose where to stop; returns whether that changed anything."""
        changed = addresses != self._breakpoints
        self._breakpoints = addresses
        return changed

    def suspect(self, block_address: int) -> None:
        """A block was entered with an unaligned base register: look at each of its accesses."""
        self._suspects.add(block_address)

    def is_suspect(self, block_address: int) -> bool:
        """Whether each access of the block has its own look, so that its entry needs none."""
        return block_address in self._suspects

    def wants(
        self, address: int, code: bytes, dynamic: tuple[DynamicCost, ...], checks: EntryChecks
    ) -> bool:
        """Whether a block needs hooks that are not in place; they become pending."""
        each_access = not checks.all_known or address in self._suspects
        if not (dynamic or each_access or self._breakpoints) and self.fpu_enabled:
            return bool(self._pending)  # nothing to look for
        divisions = {cost.address: cost for cost in dynamic}
        for instruction in all_instructions(code):
            at = address + instruction.offset
            if at in self._breakpoints:
                self._want(at, (hooks.GUARD_BREAKPOINT, ALWAYS))
            if instruction.is_floating_point and not self.fpu_enabled:
                self._want(at, (hooks.GUARD_FPU, instruction.condition))
            if at in divisions:
                self._want(at, _division(divisions[at], instruction))
            if each_access and instruction.aligned_base is not None:
                base = register_id(instruction.aligned_base)
                self._want(at, (hooks.GUARD_ALIGNED_BASE, instruction.condition, base))
        return bool(self._pending)

    def _want(self, address: int, guard: _Guard) -> None:
        if (address, guard) not in self._installed:
            self._pending.append((address, guard))

    def install_pending(self) -> None:
        """Put the pending hooks in place."""
        for address, guard in self._pending:
            data = np.zeros(hooks.GUARD_WORDS, dtype=np.int64)
            data[: len(guard)] = guard
            data[hooks.GUARD_CONTEXT] = self._context_address
            handle = add_native_hook(
                self._uc, unicorn.UC_HOOK_CODE, hooks.instruction_hook, data, address, address
            )
            self._installed[address, guard] = (handle, data)
        self._pending.clear()

    def clear(self) -> None:
        """Remove every hook; blocks will ask for theirs again."""
        for handle, _ in self._installed.values():
            remove_native_hook(self._uc, handle)
        self._installed.clear()
        self._pending.clear()


def register_id(number: int) -> int:
    """Unicorn's id of a core register."""
    special = {13: arm.UC_ARM_REG_SP, 14: arm.UC_ARM_REG_LR, 15: arm.UC_ARM_REG_PC}
    return special.get(number, arm.UC_ARM_REG_R0 + number)


def _division(cost: DynamicCost, instruction: ThumbInstruction) -> _Guard:
    return (
        hooks.GUARD_DIVIDE,
        instruction.condition,
        register_id(cost.dividend_register),
        register_id(cost.divisor_register),
        int(cost.signed),
        cost.setup_cycles,
        cost.bits_per_cycle,
    )
