"""From real scales to the integer constants of a requantization.

With r = s_x * s_w / s_y, a layer's output in steps is

    y = z_y + bias / s_y + r * (acc - z_x * sum(w)).

`Requantize` computes it as floor((t + offset) / 2**shift) with t = floor((acc + start) * 2**pre *
M / 2**32), so M = r * 2**(32 + shift - pre). Since (acc + start) * 2**pre < 2**31, rounding M moves
t by less than 1/4 and the floor by less than 1: together with the rounding of `offset`, y deviates
from the real value by less than 2 / 2**shift steps before it is rounded. So `shift`, the number of
fractional bits, is what decides precision, not the size of M. Nearly all layers therefore get the
same two shifts, whatever their scales: kernels have them as constants, and share one kernel.
"""

from __future__ import annotations

import math

import numpy as np

from mcuq_lab.errors import NumericsError
from mcuq_lab.quantgraph import QTensor, Requantize
from mcuq_lab.quantize.ranges import accumulator_peak, accumulator_start

FRACTION_BITS = 6
"""Fractional bits of t, which leave an error of 1/32 step."""

PRE_SHIFT = 6
"""Where a large r (2**-7 and up) leaves no room for them in M: one instruction for each output."""

_INT31 = 1 << 31
_INT15 = 1 << 15


def requantize_weighted(
    name: str,
    weight: np.ndarray,
    weight_scale: np.ndarray,
    bias: np.ndarray,
    source: QTensor,
    output: QTensor,
) -> Requantize:
    """Constants of a layer with weights.

    Args:
        name: the layer's name, for messages.
        weight: integers (oc, ...).
        weight_scale: real size of one weight step, (oc,).
        bias: in real units, (oc,).
        source: the layer's input tensor.
        output: the layer's output tensor.

    Raises:
        NumericsError: sums that can reach 2**31, or a scale no multiplier can express.
    """
    start = accumulator_start(weight, source.qmax)
    peak = accumulator_peak(weight, source.qmax)
    zero = source.zero_point * weight.reshape(len(weight), -1).astype(np.int64).sum(1)
    ratio = source.scale * np.asarray(weight_scale, np.float64) / output.scale
    target = np.asarray(bias, np.float64) / output.scale + output.zero_point
    return _fit(name, ratio, start, peak, zero, target, output.bits)


def requantize_average(name: str, elements: int, source: QTensor, output: QTensor) -> Requantize:
    """Constants (arrays of size 1) of a mean over `elements` pixels. Raises NumericsError."""
    ratio = np.array([source.scale / (output.scale * elements)])
    peak = np.array([source.qmax * elements])
    zero = np.array([source.zero_point * elements])
    target = np.array([float(output.zero_point)])
    return _fit(name, ratio, np.zeros(1, np.int64), peak, zero, target, output.bits)


def requantize_add(name: str, a: QTensor, b: QTensor, output: QTensor) -> tuple[int, int, int, int]:
    """(multiplier_a, multiplier_b, offset, shift) of a `QAdd`.

    The shift is capped as in `_fit`, so that offset < 2**30 and the sum stays below 2**31.

    Raises:
        NumericsError: an operand's step is 2**15 output steps or more.
    """
    ratios = np.array([a.scale, b.scale]) / output.scale
    _check_ratios(name, ratios)
    shift = min(15 - _exponent(ratios.max()), 30 - output.bits)
    if shift < 0:
        raise NumericsError(
            f"Add '{name}': one step of an operand is {ratios.max():.3g} steps of the sum; "
            "its multiplier does not fit into 15 bits. Give the sum a larger step."
        )
    scaled = np.rint(ratios * 2.0**shift).astype(np.int64)
    multiplier_a, multiplier_b = (int(m) for m in np.minimum(scaled, _INT15 - 1))
    zero = a.zero_point * multiplier_a + b.zero_point * multiplier_b
    offset = (output.zero_point << shift) - zero + ((1 << shift) >> 1)
    return multiplier_a, multiplier_b, offset, shift


def _fit(
    name: str,
    ratio: np.ndarray,
    start: np.ndarray,
    peak: np.ndarray,
    zero: np.ndarray,
    target: np.ndarray,
    bits: int,
) -> Requantize:
    """Constants with y = ratio * (acc - zero) + target and 0 <= acc + start <= peak.

    `shift` is FRACTION_BITS where a multiplier below 2**31 can express that, with a pre-shift if it
    must. All sums fit: t < 2**30 always, and qmax * 2**shift < 2**30. A channel that is not
    saturated for every input has offset < qmax * 2**shift and offset > -t for some t, so
    |t + offset| < 2**31. The others saturate however far away they are, and are clipped below
    without any effect: -(2**31 - 1) + t stays negative, and 2**31 - 1 - t stays above
    qmax * 2**shift.
    """
    live = peak > 0  # a channel without any weight yields its bias, whatever its scale says
    _check_ratios(name, ratio[live])
    if not np.isfinite(target).all():
        raise NumericsError(f"'{name}' has a bias that is not finite. Check the float network.")
    if peak.max() >= _INT31:
        raise NumericsError(
            f"'{name}': amax * sum|w| = {peak.max()} reaches 2**31; 32-bit accumulators overflow. "
            "Give the layer fewer bits or fewer inputs."
        )
    spare = -_exponent(ratio[live].max()) - 1 if live.any() else FRACTION_BITS
    head_room = 31 - int(peak.max()).bit_length()
    shift = min(FRACTION_BITS, spare + head_room)
    if shift < 0:
        raise NumericsError(
            f"'{name}': one step of its accumulator is {ratio[live].max():.3g} output steps, and "
            f"{head_room} bits of head-room cannot take that up. Give its output a larger step."
        )
    missing = max(0, shift - spare)
    pre_shift = max(missing, min(PRE_SHIFT, head_room)) if missing else 0
    exact = np.where(live, ratio, 0.0) * 2.0 ** (32 + shift - pre_shift)
    multiplier = np.minimum(np.rint(exact), _INT31 - 1).astype(np.int64)
    largest = ((peak << pre_shift) * multiplier) >> 32
    share = (start + zero) * (multiplier * 2.0 ** (pre_shift - 32))
    offset = np.rint(target * 2.0**shift - share) + ((1 << shift) >> 1)
    offset = np.clip(offset, 1.0 - _INT31, _INT31 - 1.0 - largest)
    return Requantize(
        start=start.astype(np.int32),
        multiplier=multiplier.astype(np.int32),
        offset=offset.astype(np.int32),
        pre_shift=pre_shift,
        shift=shift,
        bits=bits,
    )


def _exponent(value: float) -> int:
    """x with 2**(x - 1) <= value < 2**x."""
    return math.frexp(float(value))[1]


def _check_ratios(name: str, ratios: np.ndarray) -> None:
    if not (np.isfinite(ratios).all() and (ratios > 0).all()):
        raise NumericsError(
            f"'{name}' has a scale that is zero, negative or not finite. Calibrate it again."
        )
