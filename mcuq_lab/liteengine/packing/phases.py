"""Strided rows as two phases, each a row polynomial with stride 1.

With stride 2 the columns of a row are dealt to two phases, the even and the odd ones: pixel j of
phase f is column 2 j + f. Output x meets, by filter column k, input column 2 x - pad_left + k, that
is pixel x + t of phase f with 2 t + f = k - pad_left. There are just two offsets t, one apart:

    pad_left 1:  out[x] =           w[1] even[x]   + w[0] odd[x-1] + w[2] odd[x]
    pad_left 0:  out[x] = w[0] even[x] + w[2] even[x+1] + w[1] odd[x]

So a strided convolution of n channels is one with stride 1 in its rows, with filters of two columns
and 2 n channels, half of one column's taps being 0:

    W = w[t = upper] z**1 + w[t = lower]          A = sum(phase[x + i] * z**i, i < m)

Field j of A * W is w[lower] a[x+j] + w[upper] a[x+j-1]: fields 0 .. m-1 are finished, field m lacks
the lower taps of the next block and is its start value. Both phases add to the same fields. What
`row.py` says about words, sums and segments holds for these filters as for any other; two taps
leave a word room for wider fields, so 8-bit weights fit into one word.
"""

from __future__ import annotations

import numpy as np

from mcuq_lab.graph import Window


def fold_phases(weight: np.ndarray, window: Window) -> np.ndarray:
    """Filters of the phases: (oc, 3, 3, ic) with stride 2 to (oc, 3, 2, 2 * ic).

    Channels of the result are [input channel][phase]. With stride 1 a row is its only phase, and
    the filters stay as they are.
    """
    stride = window.stride_w
    if stride == 1:
        return weight
    oc, height, width, ic = weight.shape
    offsets = [(column - window.pad_left) // stride for column in range(width)]
    taps = offsets[-1] - offsets[0] + 1
    folded = np.zeros((oc, height, taps, ic, stride), weight.dtype)
    for column, offset in enumerate(offsets):
        phase = (column - window.pad_left) % stride
        folded[:, :, offset - offsets[0], :, phase] = weight[:, :, column]
    return folded.reshape(oc, height, taps, stride * ic)


def fields_in_front(window: Window) -> int:
    """Fields of a row before that of its first output, which is complete when its last tap is."""
    return (window.kernel_w - 1 - window.pad_left) // window.stride_w
