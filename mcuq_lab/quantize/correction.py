"""Channel statistics put right after rounding.

Rounding weights and activations shifts and shrinks what a channel carries, layer after layer, and
with few bits that destroys more than the rounding noise itself. Here each layer's output channels
get back the mean and (nearly) the variance that they have in the float network: what a re-estimated
batch norm would do, folded into bias and step. The integers of the weights stay as they are,
because a channel's weights and their step are multiplied by the same gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mcuq_lab.graph import Activation, Graph, WeightedNode
from mcuq_lab.quantize.compiled import quantize_flat
from mcuq_lab.quantize.network import (
    activate,
    evaluate_node,
    graph_parameters,
    real_images,
    torch_layout,
)
from mcuq_lab.quantize.state import AffineMap, QuantState, integer_weights
from mcuq_lab.quantize.tensors import group_of_tensor, tensor_groups

# Beyond this a channel is as good as dead, and its statistics are noise.
_LARGEST_GAIN = 8.0


@dataclass(frozen=True, eq=False)
class _Channels:
    """What a layer's output channels carry: mean (c,), differences from it (n, c, h, w), and the
    mean of their squares (c,)."""

    mean: Tensor
    apart: Tensor
    variance: Tensor

    @staticmethod
    def of(y: Tensor) -> _Channels:
        mean = y.mean((0, 2, 3))
        apart = y - mean[:, None, None]
        return _Channels(mean, apart, apart.square().mean((0, 2, 3)))


@dataclass(frozen=True, eq=False)
class FloatStatistics:
    """What the float network's layers yield on some images, the same for all policies.

    Attributes:
        images: real images, float (n, c, h, w).
        channels: by layer; they take as much memory as its outputs in float32.
    """

    images: Tensor
    channels: Mapping[str, _Channels]


@torch.no_grad()
def float_statistics(graph: Graph, images: np.ndarray) -> FloatStatistics:
    """For `correct_statistics`: of a few hundred uint8 NHWC training images; 256 do."""
    parameters, channels = graph_parameters(graph), {}
    values = {graph.input.name: real_images(graph, images)}
    for node in graph.nodes[1:]:
        name = node.name
        y = evaluate_node(node, [values[source] for source in node.inputs], parameters.get(name))
        if isinstance(node, WeightedNode):
            channels[name] = _Channels.of(y)
        values[name] = activate(y, getattr(node, "activation", Activation.NONE))
    return FloatStatistics(values[graph.input.name], channels)


@torch.no_grad()
def correct_statistics(graph: Graph, state: QuantState, exact: FloatStatistics) -> QuantState:
    """`state` with biases and channel scales that restore the float network's statistics.

    Layers are corrected in order, each on the corrected outputs of those before it.

    Args:
        graph: the float network.
        state: its quantization; the weights' integers and the activations' maps are kept.
        exact: its statistics.
    """
    groups = group_of_tensor(tensor_groups(graph))
    names = [layer.name for layer in graph.layers]
    w_bits = dict(zip(names, (bits.w_bits for bits in state.policy.layers), strict=True))
    weights, biases = dict(state.weights), dict(state.biases)
    scales = dict(state.weight_scales)
    coarse = {graph.input.name: _store(exact.images, groups, graph.input.name, state)}
    for node in graph.nodes[1:]:
        name = node.name
        sources = [coarse[source] for source in node.inputs]
        if isinstance(node, WeightedNode):
            levels = integer_weights(weights[name], scales[name], w_bits[name])
            rounded = torch_layout(levels * _along_channels(scales[name], levels))
            z = evaluate_node(node, sources, (rounded, torch.from_numpy(biases[name])))
            gain, shift = _gain_and_shift(exact.channels[name], _Channels.of(z))
            z = z * gain[:, None, None] + shift[:, None, None]
            biases[name] = biases[name] * gain.numpy() + shift.numpy()
            weights[name] = weights[name] * _along_channels(gain.numpy(), levels)
            scales[name] = scales[name] * gain.numpy()
        else:
            z = evaluate_node(node, sources, None)
        coarse[name] = _store(z, groups, name, state) if name in groups[name].computed else z
    return replace(state, weights=weights, biases=biases, weight_scales=scales)


def _gain_and_shift(y: _Channels, z: _Channels) -> tuple[Tensor, Tensor]:
    """Per channel, what maps the coarse z to the exact y.

    The gain is the geometric mean of two: the ratio of standard deviations, which keeps the signal
    as strong as it was, and the slope of the regression of y on z, which does not amplify noise.
    """
    slope = (y.apart * z.apart).mean((0, 2, 3)) / z.variance
    ratio = (y.variance / z.variance).sqrt()
    gain = (slope.clamp_min(0) * ratio).sqrt()
    sound = (gain > 1 / _LARGEST_GAIN) & (gain < _LARGEST_GAIN)  # False for not-a-number, too
    gain = torch.where(sound, gain, torch.ones_like(gain))
    return gain, y.mean - gain * z.mean


def _store(y: Tensor, groups, name: str, state: QuantState) -> Tensor:
    affine: AffineMap = state.maps[groups[name].name]
    y = y.contiguous(memory_format=torch.channels_last)
    out = torch.empty_like(y)
    source, target = (t.permute(0, 2, 3, 1).reshape(-1).numpy() for t in (y, out))
    scale = np.float32(affine.scale)
    quantize_flat(source, scale, affine.zero_point, affine.qmax, target)
    return out


def _along_channels(vector: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return vector.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float32)
