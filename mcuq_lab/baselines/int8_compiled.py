"""Loops of the int8 engines over many images, compiled by numba; integers throughout.

Activations are int8 (n, h, w, c). Sums are integers of at most 32 bits: in float columns where BLAS
made them, in int32 where a loop here does.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_OPTIONS = {"cache": True}
_FAR = np.int64(1) << 40
"""More than any value, and a multiple of each divisor."""


@njit(**_OPTIONS)
def fill_columns(x, channels, zero_point, geometry, columns):
    """Writes x - zero_point of each window into columns[n * oh * ow, kh * kw * c]; padding is 0.

    x is int8 (n, h, w * c): a window's rows are contiguous. `geometry` is (kernel_h, kernel_w,
    stride_h, stride_w, pad_top, pad_left, oh, ow).
    """
    kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, oh, ow = geometry
    images, h, width = x.shape
    row, length = 0, kernel_w * channels
    for image in range(images):
        for oy in range(oh):
            for ox in range(ow):
                first = (ox * stride_w - pad_left) * channels
                # What of the window's row lies in the picture.
                begin, end = min(max(0, -first), length), max(0, min(length, width - first))
                for ky in range(kernel_h):
                    iy, at = oy * stride_h + ky - pad_top, ky * length
                    if not 0 <= iy < h or begin >= end:
                        columns[row, at : at + length] = 0
                        continue
                    columns[row, at : at + begin] = 0
                    source = x[image, iy, first + begin : first + end]
                    target = columns[row, at + begin : at + end]
                    for i in range(end - begin):
                        target[i] = np.int32(source[i]) - zero_point
                    columns[row, at + end : at + length] = 0
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


@njit(**_OPTIONS, inline="always")
def _requantized(value, left, multiplier, half, carry, right):
    """The two roundings in int64 without branches.

    Values are made positive before they are shifted right: vectors of 64 bits have no arithmetic
    shift before AVX-512.
    """
    product = (value << left) * multiplier + ((np.int64(1) << 62) + (np.int64(1) << 30))
    high = np.int64(np.uint64(product) >> np.uint64(31)) - (np.int64(1) << 31)
    rounded = high + half - (carry if high < 0 else np.int64(0)) + _FAR
    return np.int64(np.uint64(rounded) >> np.uint64(right)) - (_FAR >> right)


@njit(**_OPTIONS)
def requantize_rows(sums, bias, left, multiplier, half, carry, right, zero_point, out):
    """Integer requantization of sums[pixels, oc] into int8 out[pixels, oc]; int64 constants.

    A value is shifted by `left`, multiplied, and divided by 2**right: `half` is half of that
    divisor and `carry` 1, or both 0 where `right` is.
    """
    for pixel in range(sums.shape[0]):
        for oc in range(sums.shape[1]):
            value = np.int64(np.int32(sums[pixel, oc])) + bias[oc]
            y = _requantized(value, left[oc], multiplier[oc], half[oc], carry[oc], right[oc])
            out[pixel, oc] = min(max(y + zero_point, -128), 127)


@njit(**_OPTIONS)
def scale_rows(sums, bias, scale, zero_point, out):
    """The same by float32 factors: one product, truncated."""
    for pixel in range(sums.shape[0]):
        for oc in range(sums.shape[1]):
            value = np.float32(np.int64(np.int32(sums[pixel, oc])) + bias[oc])
            y = np.int64(value * scale[oc]) + zero_point
            out[pixel, oc] = min(max(y, -128), 127)


@njit(**_OPTIONS)
def add_integers(a, b, scaled_a, scaled_b, constants, zero_point, out):
    """Sum of flat int8 a and b, looked up in int64[256] at value + 128, and requantized.

    `constants` are left, multiplier, half, carry and right of `requantize_rows`.
    """
    left, multiplier, half, carry, right = constants
    for i in range(a.size):
        total = scaled_a[np.int64(a[i]) + 128] + scaled_b[np.int64(b[i]) + 128]
        y = _requantized(total, left, multiplier, half, carry, right) + zero_point
        out[i] = min(max(y, -128), 127)


@njit(**_OPTIONS)
def add_floats(a, b, scaled_a, scaled_b, scale, zero_point, out):
    """The same in float32, with tables of float32, rounded in float64, halves away from zero."""
    for i in range(a.size):
        total = np.float64(
            (scaled_a[np.int64(a[i]) + 128] + scaled_b[np.int64(b[i]) + 128]) / scale + zero_point
        )
        y = np.int64(total + (-0.5 if total < 0 else 0.5))
        out[i] = min(max(y, -128), 127)
