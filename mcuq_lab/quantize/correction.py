"""Channel statistics put right after rounding.

Rounding weights and activations shifts and shrinks what a channel carries, layer after layer, and
with few bits that destroys more than the rounding noise itself. Here each layer's output channels
get back the mean and (nearly) the variance that they have in the float network: what a re-estimated
batch norm would do, folded into bias and step. The integers of the weights stay as they are,
because a channel's weights and their step are multiplied by the same gain.
"""

from __future__ import annotations

from dataclasses import replace

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


@torch.no_grad()
def correct_statistics(graph: Graph, state: QuantState, images: np.ndarray) -> QuantState:
    """`state` with biases and channel scales that restore the float network's statistics.

    Layers are corrected in order, each on the corrected outputs of those before it.

    Args:
        graph: the float network.
        state: its quantization; the weights' integers and the activations' maps are kept.
        images: a few hundred uint8 NHWC training images; 256 do.
    """
    groups = group_of_tensor(tensor_groups(graph))
    parameters = graph_parameters(graph)
    w_bits = dict(zip(parameters, (bits.w_bits for bits in state.policy.layers), strict=True))
    weights, biases = dict(state.weights), dict(state.biases)
    scales = dict(state.weight_scales)
    exact = {graph.input.name: real_images(graph, images)}
    coarse = {graph.input.name: _store(exact[graph.input.name], groups, graph.input.name, state)}
    for node in graph.nodes[1:]:
        name = node.name
        y = evaluate_node(node, [exact[source] for source in node.inputs], parameters.get(name))
        sources = [coarse[source] for source in node.inputs]
        if isinstance(node, WeightedNode):
            levels = integer_weights(weights[name], scales[name], w_bits[name])
            rounded = torch_layout(levels * _along_channels(scales[name], levels))
            z = evaluate_node(node, sources, (rounded, torch.from_numpy(biases[name])))
            gain, shift = _gain_and_shift(y, z)
            z = z * gain[:, None, None] + shift[:, None, None]
            biases[name] = biases[name] * gain.numpy() + shift.numpy()
            weights[name] = weights[name] * _along_channels(gain.numpy(), levels)
            scales[name] = scales[name] * gain.numpy()
        else:
            z = evaluate_node(node, sources, None)
        exact[name] = activate(y, getattr(node, "activation", Activation.NONE))
        coarse[name] = _store(z, groups, name, state) if name in groups[name].computed else z
    return replace(state, weights=weights, biases=biases, weight_scales=scales)


def _gain_and_shift(y: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel, what maps the coarse z to the exact y.

    The gain is the geometric mean of two: the ratio of standard deviations, which keeps the signal
    as strong as it was, and the slope of the regression of y on z, which does not amplify noise.
    """
    mean_y, mean_z = y.mean((0, 2, 3)), z.mean((0, 2, 3))
    y, z = y - mean_y[:, None, None], z - mean_z[:, None, None]
    variance = z.square().mean((0, 2, 3))
    slope = (y * z).mean((0, 2, 3)) / variance
    ratio = (y.square().mean((0, 2, 3)) / variance).sqrt()
    gain = (slope.clamp_min(0) * ratio).sqrt()
    sound = (gain > 1 / _LARGEST_GAIN) & (gain < _LARGEST_GAIN)  # False for not-a-number, too
    gain = torch.where(sound, gain, torch.ones_like(gain))
    return gain, mean_y - gain * mean_z


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
