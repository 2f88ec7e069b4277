"""Convolutions in torch: what is done in another way than torch's gives the same."""

import pytest
import torch
from torch.nn import functional as F

from mcuq_lab.graph import Window
from mcuq_lab.quantize.network import convolve


@pytest.mark.parametrize("channels", [5, 6, 16])
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 1)])
def test_strided_pointwise_convolution(channels, stride):
    torch.manual_seed(0)
    x = torch.randn(4, channels, 9, 8).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(10, channels, 1, 1), torch.randn(10)
    leaves = [x, weight, bias]
    window = Window(1, 1, *stride)

    def gradients(out):
        return torch.autograd.grad(out.square().sum(), leaves)

    for leaf in leaves:
        leaf.requires_grad_(True)
    ours = convolve(x, weight, bias, window, depthwise=False)
    with torch.backends.mkldnn.flags(enabled=False):
        theirs = F.conv2d(x, weight, bias, stride)
        expected = gradients(theirs)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    for found, wanted in zip(gradients(ours), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
