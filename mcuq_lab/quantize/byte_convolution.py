"""Convolutions of bytes: exact sums by oneDNN's int8 kernels, wherever they are exact.

A processor with dot products of bytes (AVX-512 VNNI, AMX) sums a convolution's products in int32,
two to four times as fast as in float32. Others (AVX2) add pairs of products in 16 bits first, which
saturate, and are still twice as fast as float32: exact where no pair can leave 16 bits, that is,
unless activations and weights both need all 8 bits. What a processor does is asked once, by the
worst cases of each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcuq_lab.graph import Window

_INT16_MAX = (1 << 15) - 1

# (activation, weight): the largest products there are, and the largest of which two fit 16 bits.
_LARGEST = ((255, 127), (255, -128))
_LARGEST_PAIRED = ((255, 64), (255, -64), (127, 127), (127, -128))


@cache
def exact_bytes() -> bool:
    """Whether `byte_convolution` gives exact sums on this processor with this torch."""
    return all(_sums_are_exact(*case) for case in _LARGEST)


@cache
def exact_pairs() -> bool:
    """Whether `byte_convolution` gives exact sums where those of two products fit into 16 bits."""
    return exact_bytes() or all(_sums_are_exact(*case) for case in _LARGEST_PAIRED)


def exact_as_bytes(weight: np.ndarray, amax: int) -> bool:
    """Whether `byte_convolution` with int8 `weight` gives exact sums of any values 0..`amax`.

    That is as far as its int32 sums go; as float32 they must stay below 2**24, too.
    """
    if exact_bytes():
        return True
    largest = np.abs(weight.astype(np.int16)).max(initial=0)
    return 2 * amax * int(largest) <= _INT16_MAX and exact_pairs()


def byte_convolution(
    weight: Tensor,
    window: Window,
    depthwise: bool,
    shape: tuple[int, int, int, int],
    zero_point: int = 0,
) -> Callable[[Tensor], Tensor]:
    """A convolution of uint8 maps with int8 weights, prepared for any number of calls.

    Args:
        weight: int8 (oc, ic, kh, kw), or (oc, 1, kh, kw) if depthwise.
        window: stride and padding.
        depthwise: whether each channel has its own filter.
        shape: of the maps most calls get, (N, ic, h, w): weights are laid out for them.
        zero_point: the value of padding.

    Returns:
        A function from uint8 (N, ic, h, w) to float32 sums of products (N, oc, h, w). Exact where
        `exact_as_bytes` and all sums are below 2**24.
    """
    n = len(weight)
    stride, dilation = [window.stride_h, window.stride_w], [1, 1]
    groups = n if depthwise else 1
    sides = (window.pad_left, window.pad_right, window.pad_top, window.pad_bottom)
    padding = [window.pad_top, window.pad_left]
    # oneDNN pads with zeros only, and opposite sides alike.
    pads_here = zero_point != 0 or padding != [window.pad_bottom, window.pad_right]
    if pads_here:
        shape = (*shape[:2], shape[2] + sum(sides[2:]), shape[3] + sum(sides[:2]))
        padding = [0, 0]
    ones, zeros = torch.ones(n), torch.zeros(n, dtype=torch.int32)
    packed = torch.ops.onednn.qconv_prepack(
        weight, ones, 1.0, 0, stride, padding, dilation, groups, list(shape)
    )

    def convolve(x: Tensor) -> Tensor:
        if pads_here and any(sides):
            x = F.pad(x, sides, value=zero_point)
        x = x.contiguous(memory_format=torch.channels_last)
        # Scales of 1 and zero points of 0: the sums themselves.
        return torch.ops.onednn.qconv2d_pointwise(
            x, 1.0, 0, packed, ones, zeros, None, stride, padding, dilation, groups,
            1.0, 0, torch.float32, "none", [None], "",
        )  # fmt: skip

    return convolve


def _sums_are_exact(activation: int, weight: int) -> bool:
    """With all values alike, for kernels of one pixel and of several, few channels and many."""
    try:
        for kernel, ic, depthwise in (
            (3, 32, False), (3, 3, False), (1, 64, False), (3, 32, True), (3, 5, True),
        ):  # fmt: skip
            x = torch.full((1, ic, 5, 5), activation, dtype=torch.uint8)
            oc = ic if depthwise else 32
            shape = (oc, 1 if depthwise else ic, kernel, kernel)
            w = torch.full(shape, weight, dtype=torch.int8)
            window = Window.square(kernel, 1, kernel // 2)
            sums = byte_convolution(w, window, depthwise, tuple(x.shape))(x)
            groups = ic if depthwise else 1
            expected = F.conv2d(x.double(), w.double(), padding=kernel // 2, groups=groups)
            if not torch.equal(sums.double(), expected):
                return False
    except (RuntimeError, AttributeError):  # a torch without oneDNN, or without this operator
        return False
    return True
