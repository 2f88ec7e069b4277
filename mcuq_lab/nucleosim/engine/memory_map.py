"""What answers at which address, for the core and for the debugger alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import unicorn

from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.unicorn_api import add_native_hook, map_native_device
from mcuq_lab.nucleosim.engine.waiting_memory import Mapping


class BusError(Exception):
    """A debugger's access where nothing answers, or that the device refuses."""

    def __init__(self, address: int) -> None:
        super().__init__(f"bus error at {address:#010x}")
        self.address = address


class Device(Protocol):
    """Registers in the memory map. Addresses are absolute; sizes are 1, 2 or 4 bytes."""

    def read(self, address: int, size: int) -> int:
        """Value that a read by the core or the debugger gives."""
        ...

    def write(self, address: int, size: int, value: int) -> None:
        """A write by the core or the debugger."""
        ...


class FlashController(Device, Protocol):
    """The registers of a flash memory, and what becomes of stores to it.

    `on_read`, `on_write` and `on_program` are compiled hooks over `state`.
    """

    state: np.ndarray
    on_read: Any
    on_write: Any
    on_program: Any

    def program(self, address: int, data: bytes) -> None:
        """The debugger stores to the flash."""
        ...

    def begin_forced_stores(self) -> None:
        """Let every store of the next instruction go through, to be corrected after it."""
        ...

    def end_forced_stores(self) -> None:
        """Correct the contents."""
        ...


@dataclass(frozen=True)
class _Window:
    start: int
    end: int
    target: HostMemory | Device
    write_memory: Callable[[int, bytes], None] | None
    """How the debugger writes to a memory, by the memory's own addresses; None for devices."""


class MemoryMap:
    """The address space of one Unicorn engine."""

    def __init__(self, uc: unicorn.Uc, on_mapped: Callable[[Mapping], None]) -> None:
        """`on_mapped` is told of every memory."""
        self._uc = uc
        self._on_mapped = on_mapped
        self._windows: list[_Window] = []
        self.flash_controller: FlashController | None = None

    def add_ram(
        self, memory: HostMemory, aliases: Iterable[int] = (), executable: bool = True
    ) -> None:
        """Map memory that the core and the debugger write directly, at its start and each alias."""
        rights = unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE
        if executable:
            rights |= unicorn.UC_PROT_EXEC
        for start in (memory.start, *aliases):
            self._map(memory, start, rights, memory.write)

    def add_flash(
        self,
        memory: HostMemory,
        aliases: Iterable[int],
        controller: FlashController,
    ) -> None:
        """Map memory that is written through its controller, at its start and at each alias."""
        self.flash_controller = controller
        rights = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        kind = unicorn.UC_HOOK_MEM_WRITE_PROT
        for start in (memory.start, *aliases):
            self._map(memory, start, rights, controller.program, _store_by(controller, memory))
            end = start + memory.size_bytes - 1
            add_native_hook(self._uc, kind, controller.on_program, controller.state, start, end)

    def _map(self, memory: HostMemory, start: int, rights: int, write, store=None) -> None:
        self._uc.mem_map_ptr(start, memory.size_bytes, rights, memory.address)
        self._on_mapped(Mapping(memory, start, rights, store))
        self._windows.append(_Window(start, start + memory.size_bytes, memory, write))

    def add_device(self, start: int, size_bytes: int, device: Device) -> None:
        """Map a device. In its calls the core's program counter is that of the block's start."""
        self._uc.mmio_map(
            start,
            size_bytes,
            lambda _uc, offset, size, _data: device.read(start + offset, size),
            None,
            lambda _uc, offset, size, value, _data: device.write(start + offset, size, value),
            None,
        )
        self._windows.append(_Window(start, start + size_bytes, device, None))

    def add_exact_device(
        self,
        start: int,
        size_bytes: int,
        device: Device,
        debugger_view: Device,
        before_access: Callable[[], None],
    ) -> None:
        """Map a device; `before_access` runs first, with the program counter of the access itself.

        Only a protection hook sees that program counter. `debugger_view` serves the debugger.
        """
        self.add_device(start, size_bytes, device)
        self._windows[-1] = _Window(start, start + size_bytes, debugger_view, None)
        self._uc.mem_protect(start, size_bytes, unicorn.UC_PROT_NONE)

        def allow(_uc, _access, _address, _size, _value, _data) -> bool:
            before_access()
            return True

        kinds = unicorn.UC_HOOK_MEM_READ_PROT | unicorn.UC_HOOK_MEM_WRITE_PROT
        self._uc.hook_add(kinds, allow, begin=start, end=start + size_bytes - 1)

    def add_flash_registers(self, start: int, size_bytes: int, controller: FlashController) -> None:
        """Map the registers of a flash controller; those calls from the core are compiled."""
        callbacks = (controller.on_read, controller.on_write)
        map_native_device(self._uc, start, size_bytes, *callbacks, controller.state)
        self._windows.append(_Window(start, start + size_bytes, controller, None))

    def find(self, address: int) -> _Window | None:
        """The window that holds an address."""
        for window in self._windows:
            if window.start <= address < window.end:
                return window
        return None

    def read_memory(self, address: int, size_bytes: int) -> bytes | None:
        """Bytes of one memory; None where there is no memory, or it ends too soon."""
        window = self.find(address)
        if window is None or not isinstance(window.target, HostMemory):
            return None
        if address + size_bytes > window.end:
            return None
        memory = window.target
        return memory.read(address - window.start + memory.start, size_bytes)

    def read(self, address: int, size_bytes: int) -> bytes:
        """A debugger's read of any length; from devices as aligned words or smaller.

        Raises:
            BusError: nothing answers somewhere in the range.
        """
        data = bytearray()
        end = address + size_bytes
        while address < end:
            window = self._window(address)
            if isinstance(window.target, HostMemory):
                length = min(end, window.end) - address
                memory = window.target
                data += memory.read(address - window.start + memory.start, length)
            else:
                length = _access_size(address, end)
                value = window.target.read(address, length)
                data += (value & ((1 << 8 * length) - 1)).to_bytes(length, "little")
            address += length
        return bytes(data)

    def write(self, address: int, data: bytes) -> None:
        """A debugger's write of any length; to devices as aligned words or smaller.

        Raises:
            BusError: nothing answers somewhere in the range.
        """
        end = address + len(data)
        while address < end:
            window = self._window(address)
            start = len(data) - (end - address)
            if window.write_memory is not None:
                length = min(end, window.end) - address
                own_address = address - window.start + window.target.start
                window.write_memory(own_address, data[start : start + length])
            else:
                length = _access_size(address, end)
                value = int.from_bytes(data[start : start + length], "little")
                window.target.write(address, length, value)
            address += length

    def _window(self, address: int) -> _Window:
        window = self.find(address)
        if window is None:
            raise BusError(address)
        return window


def _store_by(controller: FlashController, memory: HostMemory) -> Callable[[int, int, int], None]:
    def store(offset: int, size_bytes: int, value: int) -> None:
        value &= (1 << 8 * size_bytes) - 1
        controller.program(memory.start + offset, value.to_bytes(size_bytes, "little"))

    return store


def _access_size(address: int, end: int) -> int:
    for size in (4, 2):
        if address % size == 0 and address + size <= end:
            return size
    return 1
