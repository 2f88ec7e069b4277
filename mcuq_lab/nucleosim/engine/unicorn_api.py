"""The calls of Unicorn that its Python binding does not offer: compiled hooks and devices."""

from __future__ import annotations

import ctypes

import numpy as np
import unicorn
from unicorn.unicorn_py3.unicorn import uclib


def address_of(function) -> int:
    """Address of a ctypes function."""
    return ctypes.cast(function, ctypes.c_void_p).value


class NativeFunction:
    """A ctypes callback, to be passed where a numba cfunc goes; it lives as long as this object."""

    def __init__(self, function) -> None:
        self._function = function
        self.address = address_of(function)


EMU_STOP_ADDRESS = address_of(uclib.uc_emu_stop)
REG_READ_ADDRESS = address_of(uclib.uc_reg_read)

# The binding's own calls let other threads run, and take milliseconds to come back while one does
# (pyOCD reads an SVD file in the background of a new session). A register is no work worth that.
_REGISTER_ACCESS = ctypes.PYFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_uint64)
)
_read_register = _REGISTER_ACCESS(REG_READ_ADDRESS)
_write_register = _REGISTER_ACCESS(address_of(uclib.uc_reg_write))


def read_register(uc: unicorn.Uc, register: int) -> int:
    """Value of a register of at most 32 bits, by Unicorn's number of it."""
    value = ctypes.c_uint64()
    _check(_read_register(uc._uch, register, ctypes.byref(value)))
    return value.value & 0xFFFFFFFF


def write_register(uc: unicorn.Uc, register: int, value: int) -> None:
    """Set a register of at most 32 bits."""
    _check(_write_register(uc._uch, register, ctypes.byref(ctypes.c_uint64(value))))


def add_native_hook(
    uc: unicorn.Uc, kind: int, hook, data: np.ndarray, begin: int = 1, end: int = 0
) -> int:
    """Hook a numba cfunc, with the address of `data` as its last argument; returns the handle.

    The caller keeps `hook` and `data` alive. `begin` above `end` means every address.
    """
    handle = ctypes.c_size_t()
    status = uclib.uc_hook_add(
        uc._uch,
        ctypes.byref(handle),
        kind,
        ctypes.c_void_p(hook.address),
        ctypes.c_void_p(data.ctypes.data),
        ctypes.c_uint64(begin),
        ctypes.c_uint64(end),
    )
    _check(status)
    return handle.value


def remove_native_hook(uc: unicorn.Uc, handle: int) -> None:
    """Take a hook away; translated code may still call it until it is flushed."""
    _check(uclib.uc_hook_del(uc._uch, ctypes.c_size_t(handle)))


def map_native_device(
    uc: unicorn.Uc, start: int, size_bytes: int, read, write, data: np.ndarray
) -> None:
    """Map a device whose callbacks are numba cfuncs, the address of `data` their last argument."""
    status = uclib.uc_mmio_map(
        uc._uch,
        ctypes.c_uint64(start),
        ctypes.c_size_t(size_bytes),
        ctypes.c_void_p(read.address),
        ctypes.c_void_p(data.ctypes.data),
        ctypes.c_void_p(write.address),
        ctypes.c_void_p(data.ctypes.data),
    )
    _check(status)


def _check(status: int) -> None:
    if status != unicorn.UC_ERR_OK:
        raise unicorn.UcError(status)
