"""How an activation lies in memory: fields of 2, 4 or 8 bits, channels first.

The channels of one pixel lie side by side in fields of `QTensor.storage_bits`, the lowest channel
in the lowest bits of the lowest byte; each pixel starts on a byte, pixels follow in rows. Unused
bits of a pixel's last byte are written as zero and ignored when read.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mcuq_lab.errors import NumericsError
from mcuq_lab.quantgraph import QTensor


def pack_batch(values: npt.ArrayLike, tensor: QTensor) -> np.ndarray:
    """Stored form of N activations: uint8 (N, h, w, c) -> uint8 (N, tensor.size_bytes).

    Raises:
        NumericsError: another shape, or a value that does not fit into `tensor.bits`.
    """
    values = np.asarray(values)
    shape = (tensor.shape.h, tensor.shape.w, tensor.shape.c)
    if values.ndim != 4 or values.shape[1:] != shape:
        raise NumericsError(
            f"Tensor '{tensor.name}' is {tensor.shape}; cannot pack an array of {values.shape}."
        )
    if values.size and (values.min() < 0 or values.max() > tensor.qmax):
        raise NumericsError(
            f"Tensor '{tensor.name}' holds {tensor.bits}-bit values; got one outside "
            f"0..{tensor.qmax}. Requantize before packing."
        )
    fields = values.astype(np.uint8)
    per_byte = 8 // tensor.storage_bits
    missing = tensor.pixel_bytes * per_byte - tensor.shape.c
    fields = np.pad(fields, ((0, 0), (0, 0), (0, 0), (0, missing)))
    fields = fields.reshape(*fields.shape[:3], tensor.pixel_bytes, per_byte)
    shifts = (np.arange(per_byte) * tensor.storage_bits).astype(np.uint8)
    packed = np.bitwise_or.reduce(fields << shifts, axis=-1)
    return packed.reshape(len(values), tensor.size_bytes)


def unpack_batch(stored: npt.ArrayLike, tensor: QTensor) -> np.ndarray:
    """Inverse of `pack_batch`: uint8 (N, tensor.size_bytes) -> uint8 (N, h, w, c).

    Raises:
        NumericsError: another number of bytes.
    """
    stored = np.asarray(stored, dtype=np.uint8)
    if stored.ndim != 2 or stored.shape[1] != tensor.size_bytes:
        raise NumericsError(
            f"Tensor '{tensor.name}' takes {tensor.size_bytes} bytes; cannot unpack an array of "
            f"{stored.shape}."
        )
    shifts = np.arange(0, 8, tensor.storage_bits).astype(np.uint8)
    mask = np.uint8((1 << tensor.storage_bits) - 1)
    fields = (stored[..., None] >> shifts) & mask
    shape = tensor.shape
    fields = fields.reshape(len(stored), shape.h, shape.w, -1)
    return np.ascontiguousarray(fields[..., : shape.c])


def pack_tensor(values: npt.ArrayLike, tensor: QTensor) -> bytes:
    """Stored form of one activation, (h, w, c). Raises NumericsError as `pack_batch` does."""
    return pack_batch(np.asarray(values)[None], tensor)[0].tobytes()


def unpack_tensor(stored: bytes, tensor: QTensor) -> np.ndarray:
    """One activation, uint8 (h, w, c), from its bytes; NumericsError as `unpack_batch`."""
    return unpack_batch(np.frombuffer(stored, dtype=np.uint8)[None], tensor)[0]
