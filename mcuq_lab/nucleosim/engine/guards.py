"""Instructions that need a look before they run: breakpoints, divisions, the FPU when off."""

from __future__ import annotations

import numpy as np
import unicorn
from unicorn import arm_const as arm

from mcuq_lab.nucleosim.engine import hooks
from mcuq_lab.nucleosim.engine.blocks import instruction_size
from mcuq_lab.nucleosim.engine.unicorn_api import add_native_hook
from mcuq_lab.nucleosim.timing import DynamicCost

_Guard = tuple[int, int, int, int]


class Guards:
    """Instruction hooks of one engine, installed when the block that needs them is first met.

    Unicorn puts a hook into a block when it translates it, so a new hook needs the block
    translated anew: `wants` says so, and the caller flushes after `install_pending`.
    """

    def __init__(self, uc: unicorn.Uc, context: np.ndarray) -> None:
        self._uc = uc
        self._context_address = context.ctypes.data
        self._installed: dict[tuple[int, _Guard], tuple[int, np.ndarray]] = {}
        self._pending: list[tuple[int, _Guard]] = []
        self._breakpoints: frozenset[int] = frozenset()
        self.fpu_enabled = False

    def set_breakpoints(self, addresses: frozenset[int]) -> bool:
        """Choose where to stop; returns whether that changed anything."""
        changed = addresses != self._breakpoints
        self._breakpoints = addresses
        return changed

    def wants(self, address: int, code: bytes, dynamic: tuple[DynamicCost, ...]) -> bool:
        """Whether a block needs hooks that are not in place; they become pending."""
        needed = [
            (address + offset, (hooks.GUARD_BREAKPOINT, 0, 0, 0))
            for offset in range(0, len(code), 2)
            if address + offset in self._breakpoints
        ]
        needed += [(cost.address, _division(cost)) for cost in dynamic]
        if not self.fpu_enabled:
            needed += [(at, (hooks.GUARD_FPU, 0, 0, 0)) for at in _fpu_instructions(address, code)]
        self._pending += [guard for guard in needed if guard not in self._installed]
        return bool(self._pending)

    def add_for_block(self, address: int, code: bytes, dynamic: tuple[DynamicCost, ...]) -> bool:
        """Put the hooks of a block in place; returns whether there were new ones."""
        wanted = self.wants(address, code, dynamic)
        self.install_pending()
        return wanted

    def install_pending(self) -> None:
        """Put the pending hooks in place."""
        for address, guard in self._pending:
            data = np.array([*guard, self._context_address], dtype=np.int64)
            handle = add_native_hook(
                self._uc, unicorn.UC_HOOK_CODE, hooks.instruction_hook, data, address, address
            )
            self._installed[address, guard] = (handle, data)
        self._pending.clear()

    def clear(self) -> None:
        """Remove every hook; blocks will ask for theirs again."""
        for handle, _ in self._installed.values():
            self._uc.hook_del(handle)
        self._installed.clear()
        self._pending.clear()


def _register_id(number: int) -> int:
    special = {13: arm.UC_ARM_REG_SP, 14: arm.UC_ARM_REG_LR, 15: arm.UC_ARM_REG_PC}
    return special.get(number, arm.UC_ARM_REG_R0 + number)


def _division(cost: DynamicCost) -> _Guard:
    return (
        hooks.GUARD_DIVIDE,
        int(cost.signed),
        _register_id(cost.dividend_register),
        _register_id(cost.divisor_register),
    )


def _fpu_instructions(address: int, code: bytes) -> list[int]:
    """Addresses of the floating-point instructions (coprocessors 10 and 11) in a block."""
    found = []
    offset = 0
    while offset < len(code):
        size = instruction_size(code, offset)
        if size == 4 and code[offset + 1] & 0xEC == 0xEC and code[offset + 3] & 0x0E == 0x0A:
            found.append(address + offset)
        offset += size
    return found
