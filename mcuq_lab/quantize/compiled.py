"""Elementwise loops, compiled by numba: quantization is bound by memory, so one pass each.

The same in torch operators takes three to ten times as long, most of an evaluation. The loops are
sequential on purpose: they are short beside the convolutions between them, and threads that meet
after each cost more than they save on a busy machine.

numba's `fastmath` is restricted to reassociation (for vector sums) and contraction; not-a-number
keeps its meaning.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# Divisions by zero give infinities, as in numpy: a check at each would forbid vector code. Without
# the interpreter's lock a network is scored while another thread builds its image.
_OPTIONS = {"cache": True, "error_model": "numpy", "nogil": True}
_REASSOCIATE = {"reassoc", "contract"}
_F0 = np.float32(0)


@njit(**_OPTIONS)
def quantize_flat(x, scale, zero_point, qmax, out):
    """Fake-quantizes float32 x[n] into out[n]: scale * (clamp(rint(x / scale) + zero) - zero)."""
    low, high = np.float32(-zero_point), np.float32(qmax - zero_point)
    inverse = np.float32(1) / scale
    for i in range(x.size):
        out[i] = min(max(np.rint(x[i] * inverse), low), high) * scale


@njit(**_OPTIONS, fastmath=_REASSOCIATE)
def quantize_flat_backward(x, gradient, scale, zero_point, qmax, dx):
    """Writes the straight-through gradient to dx[n]; returns that of the scale (LSQ, eq. 3)."""
    low, high = np.float32(-zero_point), np.float32(qmax - zero_point)
    inverse = np.float32(1) / scale
    total = _F0
    for i in range(x.size):
        v = x[i] * inverse
        inside = (v > low) & (v < high)
        dx[i] = gradient[i] if inside else _F0
        level = min(max(np.rint(v), low), high)
        total += gradient[i] * (level - v if inside else level)
    return total


@njit(**_OPTIONS)
def quantize_rows(w, scale, low, high, out):
    """Fake-quantizes float32 w[oc, k] with one step a row, levels low..high."""
    low, high = np.float32(low), np.float32(high)
    for row in range(w.shape[0]):
        for i in range(w.shape[1]):
            out[row, i] = min(max(np.rint(w[row, i] / scale[row]), low), high) * scale[row]


@njit(**_OPTIONS, fastmath=_REASSOCIATE)
def quantize_rows_backward(w, gradient, scale, low, high, dw, dscale):
    """Gradients of `quantize_rows`: dw[oc, k] and dscale[oc]."""
    low, high = np.float32(low), np.float32(high)
    for row in range(w.shape[0]):
        total = _F0
        for i in range(w.shape[1]):
            v = w[row, i] / scale[row]
            inside = (v >= low) & (v <= high)
            dw[row, i] = gradient[row, i] if inside else _F0
            level = min(max(np.rint(v), low), high)
            total += gradient[row, i] * (level - v if inside else level)
        dscale[row] = total


@njit(**_OPTIONS, fastmath=_REASSOCIATE)
def row_errors(w, scales, low, high, errors):
    """errors[candidate, oc] = squared error of w[oc, k] quantized with scales[candidate, oc]."""
    low, high = np.float32(low), np.float32(high)
    for candidate in range(scales.shape[0]):
        for row in range(w.shape[0]):
            scale = scales[candidate, row]
            total = _F0
            for i in range(w.shape[1]):
                level = min(max(np.rint(w[row, i] / scale), low), high)
                total += (level * scale - w[row, i]) ** 2
            errors[candidate, row] = total


@njit(**_OPTIONS, fastmath=_REASSOCIATE)
def histogram_errors(values, counts, scales, zero_points, qmax, errors):
    """errors[candidate] = squared error of a histogram quantized with that scale and zero."""
    for candidate in range(scales.size):
        low = -np.float64(zero_points[candidate])
        high = low + qmax
        inverse = 1.0 / scales[candidate]
        total = 0.0
        for i in range(values.size):
            level = min(max(np.rint(values[i] * inverse), low), high)
            total += counts[i] * (level * scales[candidate] - values[i]) ** 2
        errors[candidate] = total


@njit(**_OPTIONS)
def requantize_rows(acc, start, multiplier, offset, pre_shift, shift, qmax, out):
    """The integer requantization of `mcuq_lab.quantgraph`, of acc[pixels, oc] to uint8 out.

    `acc` is floating point and holds integers. The shifts are logical on the product, which is not
    negative, and arithmetic on the sum. Rows are best some hundred elements long.
    """
    # ((acc + start) << pre_shift) * multiplier >> 32, in one shift. A pre_shift above 30 is allowed
    # for sums that are always 0 only, and changes nothing there.
    high = np.uint64(32 - min(pre_shift, 31))
    scaled = np.empty(acc.shape[1], np.int32)
    for pixel in range(acc.shape[0]):
        # Two loops, of 64-bit products and of 32-bit sums: each fills vectors of its own width.
        for oc in range(acc.shape[1]):
            total = np.uint64(np.uint32(np.int32(acc[pixel, oc]) + start[oc]))
            product = total * np.uint64(np.uint32(multiplier[oc]))
            scaled[oc] = np.int32(np.uint32(product >> high))
        for oc in range(acc.shape[1]):
            y = (scaled[oc] + offset[oc]) >> shift
            out[pixel, oc] = min(max(y, 0), qmax)


@njit(**_OPTIONS)
def requantize_signed_rows(acc, start, multiplier, offset, pre_shift, shift, qmax, out):
    """As `requantize_rows`, where acc + start may be negative; all constants are int64."""
    for pixel in range(acc.shape[0]):
        for oc in range(acc.shape[1]):
            shifted = (np.int64(acc[pixel, oc]) + start[oc]) << pre_shift
            y = (((shifted * multiplier[oc]) >> 32) + offset[oc]) >> shift
            out[pixel, oc] = min(max(y, 0), qmax)


@njit(**_OPTIONS)
def add_flat(a, b, multiplier_a, multiplier_b, offset, shift, qmax, out):
    """The integer addition of `mcuq_lab.quantgraph` on uint8 arrays."""
    for i in range(a.size):
        total = np.int32(a[i]) * multiplier_a + np.int32(b[i]) * multiplier_b + offset
        out[i] = min(max(total >> shift, 0), qmax)
