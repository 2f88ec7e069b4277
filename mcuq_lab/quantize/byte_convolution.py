"""Convolutions of bytes: exact sums by oneDNN's int8 kernels, where the processor has them.

A processor with dot products of bytes (AVX-512 VNNI, AMX) sums a convolution's products in int32,
two to four times as fast as in float32. Others pair products in 16 bits, which saturate: whether
sums are exact is asked once, by the worst case.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mcuq_lab.graph import Window
from mcuq_lab.quantize.network import evenly_padded


@cache
def exact_bytes() -> bool:
    """Whether `convolve_bytes` gives exact sums on this processor with this torch."""
    x = torch.full((1, 32, 3, 3), 255, dtype=torch.uint8)
    window = Window(3, 3, 1, 1, 1, 1, 1, 1)
    try:
        for weight, depthwise in ((127, False), (-128, False), (127, True)):
            w = torch.full((32, 1 if depthwise else 32, 3, 3), weight, dtype=torch.int8)
            sums = convolve_bytes(x, w, window, depthwise)
            terms = F.conv2d(x.double(), w.double(), padding=1, groups=32 if depthwise else 1)
            if not torch.equal(sums.double(), terms):
                return False
    except (RuntimeError, AttributeError):  # a torch without oneDNN, or without this operator
        return False
    return True


def convolve_bytes(x: Tensor, weight: Tensor, window: Window, depthwise: bool) -> Tensor:
    """Sums of products, float32 (N, oc, h, w), of zero-padded uint8 x and int8 weight.

    Exact where `exact_bytes` and all sums are below 2**24. `x` is (N, ic, h, w), `weight`
    (oc, ic, kh, kw), or (oc, 1, kh, kw) if depthwise.
    """
    x, padding = evenly_padded(x, window)
    stride, dilation = [window.stride_h, window.stride_w], [1, 1]
    groups = x.shape[1] if depthwise else 1
    n = len(weight)
    ones, zeros = torch.ones(n), torch.zeros(n, dtype=torch.int32)
    x = x.contiguous(memory_format=torch.channels_last)
    packed = torch.ops.onednn.qconv_prepack(
        weight, ones, 1.0, 0, stride, padding, dilation, groups, list(x.shape)
    )
    # Scales of 1 and zero points of 0: the sums themselves.
    return torch.ops.onednn.qconv2d_pointwise(
        x, 1.0, 0, packed, ones, zeros, None, stride, padding, dilation, groups,
        1.0, 0, torch.float32, "none", [None], "",
    )  # fmt: skip
