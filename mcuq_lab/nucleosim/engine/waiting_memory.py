"""Memories that let the core wait, mapped so that each access to their data is seen.

To look at every access of a program would slow it down several times. So only the pages of these
memories are mapped as devices, whose compiled callbacks keep the caches. Code cannot run from a
device: a page is mapped as plain memory once code has run from it, and data in the same page is
then read unseen, constants that code loads relative to the program counter excepted.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import unicorn

from mcuq_lab.nucleosim.engine import waits as native
from mcuq_lab.nucleosim.engine.context import CODE_WAITS, LITERAL_WAITS, RAM_WAITS
from mcuq_lab.nucleosim.engine.memory import HostMemory
from mcuq_lab.nucleosim.engine.unicorn_api import NativeFunction, map_native_device
from mcuq_lab.nucleosim.timing.waits import NO_WAITS, CodeWaits, DataWaits, Waits

PAGE_BYTES = 1024

_WRITE = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p
)


@dataclass(frozen=True)
class Mapping:
    """How a memory is mapped while it does not wait.

    Attributes:
        start: where in the address space.
        rights: of the core, as Unicorn's UC_PROT_ bits.
        write: what a store does that is no plain store, by offset, bytes and value; None for RAM.
    """

    memory: HostMemory
    start: int
    rights: int
    write: Callable[[int, int, int], None] | None

    @property
    def end(self) -> int:
        """First address behind it."""
        return self.start + self.memory.size_bytes


class WaitingMemory:
    """The waits of one engine, as they are set."""

    def __init__(self, uc: unicorn.Uc, context: np.ndarray) -> None:
        self._uc = uc
        self._context = context
        self._mappings: list[Mapping] = []
        self._code_pages: set[int] = set()
        self._arrays: list[np.ndarray] = []
        self._functions: list[NativeFunction] = []
        self._code_array: np.ndarray | None = None
        self._code_cache: native.CacheWords | None = None
        self._data_cache: native.CacheWords | None = None
        self.current = NO_WAITS

    def add(self, mapping: Mapping) -> None:
        """A memory that has been mapped, and may come to wait."""
        self._mappings.append(mapping)

    def set(self, waits: Waits) -> None:
        """Let these be the waits, with caches empty. Translated code must be dropped after it."""
        affected = {*self._affected(self.current), *self._affected(waits)}
        self.current = waits
        self._arrays.clear()
        self._functions.clear()
        self._code_array = None
        self._context[[CODE_WAITS, LITERAL_WAITS, RAM_WAITS]] = 0
        self._data_cache = None
        if waits.data_cache is not None:
            served = (*waits.data, *(() if waits.cached_ram is None else (waits.cached_ram,)))
            ranges = ((region.start, region.end) for region in served)
            self._data_cache = native.CacheWords(waits.data_cache, ranges)
            if waits.cached_ram is not None:
                words = self._data_words(waits.cached_ram, waits.cached_ram.start, 0)
                self._context[RAM_WAITS] = words.ctypes.data
        if waits.code is not None:
            self._set_code(waits.code)
        for index in sorted(affected):
            self._map(self._mappings[index])

    def _set_code(self, code: CodeWaits) -> None:
        if code.cache is None:
            self._code_cache = None
        else:
            self._code_cache = native.CacheWords(code.cache, [(code.start, code.end)])
        self._code_array = native.code_words(code, self._code_cache)
        self._context[CODE_WAITS] = self._code_array.ctypes.data
        region = next((r for r in self.current.data if r.start == code.start), None)
        if region is not None:
            self._context[LITERAL_WAITS] = self._data_words(region, region.start, 0).ctypes.data

    def forget_code(self) -> None:
        """The contents have changed: any page may hold data. Translated code must be dropped."""
        self._code_pages.clear()
        for index in self._affected(self.current):
            self._map(self._mappings[index])

    def met_code(self, address: int) -> bool:
        """Code is to run at an address. Whether it could not, and now can."""
        page = address // PAGE_BYTES
        for index in self._affected(self.current):
            mapping = self._mappings[index]
            if mapping.start <= address < mapping.end and page not in self._code_pages:
                self._code_pages.add(page)
                self._map(mapping)
                return True
        return False

    def code_cycles(self, address: int, size_bytes: int, cycles: int) -> int:
        """Cycles of waiting for code that takes `cycles` without; for single steps."""
        if self._code_array is None:
            return 0
        return int(native.fetch(self._code_array, address, size_bytes, cycles))

    def _affected(self, waits: Waits) -> Iterator[int]:
        for index, mapping in enumerate(self._mappings):
            if _region_of(mapping, waits) is not None:
                yield index

    def _map(self, mapping: Mapping) -> None:
        """Map a memory anew: pages of code as memory, the others as devices if they wait."""
        self._uc.mem_unmap(mapping.start, mapping.memory.size_bytes)
        region = _region_of(mapping, self.current)
        for start, end, is_code in self._runs(mapping):
            host = mapping.memory.address + start - mapping.start
            if region is None or is_code:
                self._uc.mem_map_ptr(start, end - start, mapping.rights, host)
            else:
                self._map_device(mapping, region, start, end, host)

    def _runs(self, mapping: Mapping) -> Iterator[tuple[int, int, bool]]:
        """(start, end, whether it holds code) of the pages, neighbours of a kind together."""
        pages = sorted(
            page for page in self._code_pages if mapping.start <= page * PAGE_BYTES < mapping.end
        )
        at = mapping.start
        for page in pages:
            if at < page * PAGE_BYTES:
                yield at, page * PAGE_BYTES, False
            at = (page + 1) * PAGE_BYTES
            yield page * PAGE_BYTES, at, True
        if at < mapping.end:
            yield at, mapping.end, False

    def _map_device(
        self, mapping: Mapping, region: DataWaits, start: int, end: int, host: int
    ) -> None:
        array = self._data_words(region, start, host)
        on_write = native.on_write
        if mapping.write is not None:
            on_write = self._callback(mapping.write, start - mapping.start)
        map_native_device(self._uc, start, end - start, native.on_read, on_write, array)

    def _data_words(self, region: DataWaits, start: int, host: int) -> np.ndarray:
        self._arrays.append(native.data_words(self._context, self._data_cache, region, start, host))
        return self._arrays[-1]

    def _callback(self, write: Callable[[int, int, int], None], first: int) -> NativeFunction:
        def on_write(_engine, offset: int, size_bytes: int, value: int, _data) -> None:
            write(first + offset, size_bytes, value)

        self._functions.append(NativeFunction(_WRITE(on_write)))
        return self._functions[-1]


def _region_of(mapping: Mapping, waits: Waits) -> DataWaits | None:
    for region in waits.data:
        if region.start <= mapping.start and mapping.end <= region.end:
            return region
    return None
