"""Loops of the int8 engines over many images, compiled by numba; integers throughout.

Activations are int8 (n, h, w, c). Sums are integers of at most 32 bits: in float columns where BLAS
made them, in int32 where a loop here does.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"cache": True}


@njit(**_OPTIONS)
def fill_columns(x, zero_point, geometry, columns):
    """Writes x - zero_point of each window into columns[n * oh * ow, kh * kw * c]; padding is 0.

    `geometry` is (kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, oh, ow).
    """
    kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, oh, ow = geometry
    images, h, w, channels = x.shape
    row = 0
    for image in range(images):
        for oy in range(oh):
            for ox in range(ow):
                at = 0
                for ky in range(kernel_h):
                    iy = oy * stride_h + ky - pad_top
                    for kx in range(kernel_w):
                        ix = ox * stride_w + kx - pad_left
                        if 0 <= iy < h and 0 <= ix < w:
                            for c in range(channels):
                                columns[row, at + c] = np.int32(x[image, iy, ix, c]) - zero_point
                        else:
                            for c in range(channels):
                                columns[row, at + c] = 0
                        at += channels
                row += 1


@njit(**_OPTIONS)
def depthwise_sums(x, zero_point, weight, geometry, sums):
    """Adds weight[kh, kw, c] * (x - zero_point) into sums[n * oh * ow, c], int32."""
    kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, oh, ow = geometry
    images, h, w, channels = x.shape
    row = 0
    for image in range(images):
        for oy in range(oh):
            for ox in range(ow):
                for ky in range(kernel_h):
                    iy = oy * stride_h + ky - pad_top
                    for kx in range(kernel_w):
                        ix = ox * stride_w + kx - pad_left
                        if 0 <= iy < h and 0 <= ix < w:
                            for c in range(channels):
                                value = np.int32(x[image, iy, ix, c]) - zero_point
                                sums[row, c] += value * weight[ky, kx, c]
                row += 1


@njit(**_OPTIONS)
def _requantized(value, multiplier, shift):
    if shift > 0:
        value = value << shift
    high = (value * multiplier + (np.int64(1) << 30)) >> 31
    if shift >= 0:
        return high
    right = -shift
    mask = (np.int64(1) << right) - 1
    result = high >> right
    threshold = (mask >> 1) + (1 if result < 0 else 0)
    return result + (1 if (high & mask) > threshold else 0)


@njit(**_OPTIONS)
def requantize_rows(sums, bias, multiplier, shift, zero_point, out):
    """Integer requantization of sums[pixels, oc] into int8 out[pixels, oc]; int64 constants."""
    for pixel in range(sums.shape[0]):
        for oc in range(sums.shape[1]):
            value = np.int64(sums[pixel, oc]) + bias[oc]
            y = _requantized(value, multiplier[oc], shift[oc]) + zero_point
            out[pixel, oc] = min(max(y, -128), 127)


@njit(**_OPTIONS)
def scale_rows(sums, bias, scale, zero_point, out):
    """The same by float32 factors: one product, truncated."""
    for pixel in range(sums.shape[0]):
        for oc in range(sums.shape[1]):
            value = np.float32(np.int64(sums[pixel, oc]) + bias[oc])
            y = np.int64(value * scale[oc]) + zero_point
            out[pixel, oc] = min(max(y, -128), 127)


@njit(**_OPTIONS)
def add_integers(a, b, zeros, multipliers, shifts, left_shift, zero_point, out):
    """Sum of flat int8 a and b, each requantized, and requantized again.

    `zeros` are those of a and b; `multipliers` and `shifts` those of a, b and the output.
    """
    for i in range(a.size):
        left = (np.int64(a[i]) - zeros[0]) << left_shift
        right = (np.int64(b[i]) - zeros[1]) << left_shift
        total = _requantized(left, multipliers[0], shifts[0])
        total += _requantized(right, multipliers[1], shifts[1])
        y = _requantized(total, multipliers[2], shifts[2]) + zero_point
        out[i] = min(max(y, -128), 127)
