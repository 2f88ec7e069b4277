"""What the flash interfaces of all families offer to board, core and debugger.

A family is a module with three compiled functions, made of the pieces in `flash_state`, that
`flash_callbacks` describes; and a `FlashInterface`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import ModuleType
from typing import ClassVar

import numpy as np

from mcuq_lab.nucleosim.chip import Flash
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.peripherals.flash_callbacks import callbacks
from mcuq_lab.nucleosim.peripherals.flash_state import (
    ACCESS_CONTROL,
    BUSY,
    CORRECTIONS,
    DIRTY_END,
    DIRTY_START,
    ERASES,
    FORCED,
    LIMIT,
    MEMORY,
    REFUSES_AFTER,
    SECTORS,
    SIZE,
    STATE_WORDS,
    STUCK_BUSY,
    WORN_OUT,
    WRITES,
)

# ACR of F4 and L4
_PRFTEN = 1 << 8
_ICEN = 1 << 9
_DCEN = 1 << 10


class FlashInterface(ABC):
    """The registers of a flash memory and the contents that they guard."""

    # Where the compiled functions of the family are
    _family: ClassVar[ModuleType]
    # Whether ACR has PRFTEN, ICEN and DCEN
    _has_caches: ClassVar[bool] = False

    def __init__(self, flash: Flash, memory: HostMemory) -> None:
        self.flash = flash
        self.memory = memory
        self.on_read, self.on_write, self.on_program = callbacks(self._family)
        self.state = np.zeros(STATE_WORDS, dtype=np.int64)
        self.state[MEMORY] = memory.address
        self.state[SIZE] = memory.size_bytes
        self.state[WORN_OUT] = -1
        self.state[REFUSES_AFTER] = -1
        ends = np.cumsum(flash.sector_bytes)
        self.state[SECTORS] = len(ends)
        self.state[SECTORS + 1 : SECTORS + 1 + len(ends)] = ends
        self._load_options()
        self.reset()

    @abstractmethod
    def _load_options(self) -> None:
        """Option bytes as they leave the factory."""

    @abstractmethod
    def _reset_registers(self) -> None:
        """Registers as after a system reset; option bytes keep what was programmed."""

    @property
    def wait_states(self) -> int:
        """Flash wait states that are set: ACR.LATENCY."""
        return int(self.state[ACCESS_CONTROL]) & 0xF

    @property
    def prefetch_on(self) -> bool:
        """Whether the flash interface reads ahead of the core."""
        return self._caches_by(_PRFTEN)

    @property
    def instruction_cache_on(self) -> bool:
        """Whether the flash interface's own cache of code is on, if it has one."""
        return self._caches_by(_ICEN)

    @property
    def data_cache_on(self) -> bool:
        """Whether the flash interface's own cache of data is on, if it has one."""
        return self._caches_by(_DCEN)

    def _caches_by(self, enable: int) -> bool:
        return self._has_caches and bool(self.state[ACCESS_CONTROL] & enable)

    def stop_by(self, limit_address: int) -> None:
        """When the access settings change, write 0 to this host address (a 64-bit word)."""
        self.state[LIMIT] = limit_address

    @property
    def boot_address(self) -> int:
        """Where the core looks for its vectors after a reset, with the BOOT0 pin low."""
        return self.flash.starts[-1]

    def reset(self) -> None:
        """System reset: it ends an operation that does not complete."""
        self.state[BUSY] = 0
        self._reset_registers()

    def read(self, address: int, size: int) -> int:
        """The debugger reads a register."""
        offset = address - self.flash.controller_base
        return int(self._family.read_register(self.state, offset & ~3)) >> 8 * (offset & 3)

    def write(self, address: int, size: int, value: int) -> None:
        """The debugger writes a register."""
        offset = address - self.flash.controller_base
        self._family.write_register(self.state, self.memory.bytes, offset, value)

    def program(self, address: int, data: bytes) -> None:
        """The debugger stores to flash: as words where it can, like the core."""
        for at in range(0, len(data), 4):
            chunk = data[at : at + 4]
            offset = address - self.flash.start + at
            value = int.from_bytes(chunk, "little")
            result = self._family.program(self.state, self.memory.bytes, offset, len(chunk), value)
            self._set(offset, len(chunk), int(result))

    def begin_forced_stores(self) -> None:
        """Let every store of the next instruction go through, to be corrected after it."""
        self.state[FORCED] = 1
        self.state[CORRECTIONS] = 0

    def end_forced_stores(self) -> None:
        """Give the contents that were stored to what programming makes of them."""
        self.state[FORCED] = 0
        for index in range(self.state[CORRECTIONS]):
            at = CORRECTIONS + 1 + 3 * index
            self._set(*self.state[at : at + 3].tolist())

    def _set(self, offset: int, size: int, value: int) -> None:
        # Eight bytes whose top bit is set are a negative word of the state.
        data = (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        self.memory.write(self.memory.start + offset, data)

    def take_dirty(self) -> tuple[int, int] | None:
        """Offsets [start, end) of the contents that changed since the last call."""
        start, end = int(self.state[DIRTY_START]), int(self.state[DIRTY_END])
        if end == 0:
            return None
        self.state[DIRTY_START] = self.state[DIRTY_END] = 0
        return start, end

    @property
    def erase_count(self) -> int:
        """Sectors erased since power-on."""
        return int(self.state[ERASES])

    @property
    def write_count(self) -> int:
        """Program operations since power-on that changed the contents or could have."""
        return int(self.state[WRITES])

    @property
    def stuck_address(self) -> int | None:
        """Address of a worn-out byte, whose bit 0 stays 1; None if all are sound."""
        offset = int(self.state[WORN_OUT])
        return None if offset < 0 else offset + self.flash.start

    @stuck_address.setter
    def stuck_address(self, address: int | None) -> None:
        self.state[WORN_OUT] = -1 if address is None else address - self.flash.start

    @property
    def stuck_busy(self) -> bool:
        """Whether no operation completes: the next one that starts shows as busy until reset."""
        return bool(self.state[STUCK_BUSY])

    @stuck_busy.setter
    def stuck_busy(self, stuck: bool) -> None:
        self.state[STUCK_BUSY] = stuck
        if not stuck:
            self.state[BUSY] = 0

    def refuse_after(self, operations: int | None) -> None:
        """Let so many erase and program operations succeed, then none; None: all, as they should.

        What is counted are sectors of an erase and stores of a program operation.
        """
        self.state[REFUSES_AFTER] = -1 if operations is None else operations
