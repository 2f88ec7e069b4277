"""Channel statistics put right after rounding.

Rounding weights and activations shifts and shrinks what a channel carries, layer after layer, and
with few bits that destroys more than the rounding noise itself. Here each layer's output channels
get back the mean and (nearly) the variance that they have in the float network: what a re-estimated
batch norm would do, folded into bias and step. The integers of the weights stay as they are,
because a channel's weights and their step are multiplied by the same gain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mcuq_lab.graph import Activation, Graph, Node, WeightedNode
from mcuq_lab.quantize.compiled import quantize_flat
from mcuq_lab.quantize.network import (
    activate,
    evaluate_node,
    graph_parameters,
    real_images,
    torch_layout,
)
from mcuq_lab.quantize.remembered import Remembered
from mcuq_lab.quantize.state import AffineMap, QuantState, integer_weights
from mcuq_lab.quantize.tensors import group_of_tensor, tensor_groups

# Beyond this a channel is as good as dead, and its statistics are noise.
_LARGEST_GAIN = 8.0

# Some kilobytes are enough for one state.
_MOVES_BYTES = 1 << 24


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


def correct_statistics(graph: Graph, state: QuantState, exact: FloatStatistics) -> QuantState:
    """`state` with biases and channel scales that restore the float network's statistics.

    Layers are corrected in order, each on the corrected outputs of those before it.

    Args:
        graph: the float network.
        state: its quantization; the weights' integers and the activations' maps are kept.
        exact: its statistics.
    """
    return Correction(graph, exact).correct(state)


class Correction:
    """`correct_statistics` for many states of one network, each from where it differs from others.

    The policies of a search are neighbours: what a layer yields is known by a digest of all that
    it depends on, whatever state it was worked out for. Results are the same to the bit, and a
    correction that is interrupted leaves nothing half done.

    Args:
        graph: the float network.
        exact: its statistics.
        memory_bytes: of values that are kept between states: at most four bytes for each image and
            element of a tensor, less where there is less memory; with 0 nothing is kept.
    """

    def __init__(self, graph: Graph, exact: FloatStatistics, *, memory_bytes: int = 0) -> None:
        self._graph, self._exact = graph, exact
        self._groups = group_of_tensor(tensor_groups(graph))
        self._numbers = {layer.name: number for number, layer in enumerate(graph.layers)}
        self._values: Remembered[Tensor] = Remembered(memory_bytes)
        self._moves: Remembered[_Move] = Remembered(min(memory_bytes, _MOVES_BYTES))

    @property
    def size_bytes(self) -> int:
        """Of what is kept."""
        return self._values.size_bytes + self._moves.size_bytes

    @torch.no_grad()
    def correct(self, state: QuantState) -> QuantState:
        """`state` with biases and channel scales that restore the float network's statistics."""
        keys = self._keys(state)
        known, settled = self._values.known(keys), self._moves.known(keys)
        nodes, begin = self._missing(known, settled)
        moves = self._moves.of({name: keys[name] for name in settled})
        values = self._values.of({name: keys[name] for name in begin if name in known})
        values[self._graph.input.name] = self._exact.images
        kept = self._values.make_room(self._sizes(keys, known | {node.name for node in nodes}))
        coarse = {name: self._stored(values[name], name, state) for name in begin}
        last_reader = {name: node.name for node in nodes for name in node.inputs}
        for node in nodes:
            name, sources = node.name, [coarse[source] for source in node.inputs]
            if isinstance(node, WeightedNode):
                y, moves[name] = self._corrected(node, sources, state)
            else:
                y = evaluate_node(node, sources, None)
            if keys[name] in kept:
                values[name] = y
            if name in last_reader:
                coarse[name] = self._stored(y, name, state)
            for source in node.inputs:
                if last_reader[source] == name:
                    coarse.pop(source, None)
        for node in nodes:
            if keys[node.name] in kept:
                y = values[node.name]
                self._values.remember(keys[node.name], y, y.nbytes)
        self._settle({keys[name]: move for name, move in moves.items()})
        return _moved(state, moves)

    def _keys(self, state: QuantState) -> dict[str, bytes]:
        """By tensor but the input, a digest of what its values before `_stored` depend on."""
        stored = {self._graph.input.name: self._stored_key(b"", self._graph.input.name, state)}
        keys = {}
        for node in self._graph.nodes[1:]:
            name, digest = node.name, hashlib.sha256(node.name.encode())
            for source in node.inputs:
                digest.update(stored[source])
            if isinstance(node, WeightedNode):
                digest.update(bytes([self._w_bits(state, name)]))
                for arrays in (state.weights, state.biases, state.weight_scales):
                    digest.update(np.ascontiguousarray(arrays[name]))
            keys[name] = digest.digest()
            stored[name] = self._stored_key(keys[name], name, state)
        return keys

    def _w_bits(self, state: QuantState, name: str) -> int:
        return state.policy.layers[self._numbers[name]].w_bits

    def _stored_key(self, key: bytes, name: str, state: QuantState) -> bytes:
        group = self._groups[name]
        if name not in group.computed:
            return key
        return hashlib.sha256(key + repr(state.maps[group.name]).encode()).digest()

    def _missing(self, known: Set[str], settled: Set[str]) -> tuple[list[Node], list[str]]:
        """The nodes that are to be evaluated, in order, and the tensors that they begin with."""
        nodes, needed = [], set()
        for node in reversed(self._graph.nodes[1:]):
            unsettled = isinstance(node, WeightedNode) and node.name not in settled
            if unsettled or (node.name in needed and node.name not in known):
                nodes.append(node)
                needed.update(node.inputs)
        computed = {node.name for node in nodes}
        return nodes[::-1], [name for name in needed if name not in computed]

    def _sizes(self, keys: Mapping[str, bytes], names: Set[str]) -> dict[bytes, int]:
        """Bytes of the values of `names`, by key, in the graph's order."""
        n, shapes = len(self._exact.images), self._graph.shapes
        return {key: 4 * n * shapes[name].size for name, key in keys.items() if name in names}

    def _settle(self, moves: Mapping[bytes, _Move]) -> None:
        kept = self._moves.make_room({key: move.size_bytes for key, move in moves.items()})
        for key in kept:
            self._moves.remember(key, moves[key], moves[key].size_bytes)

    def _corrected(
        self, node: WeightedNode, sources: list[Tensor], state: QuantState
    ) -> tuple[Tensor, _Move]:
        """A layer's output, and what has put its statistics right."""
        name, scale = node.name, state.weight_scales[node.name]
        levels = integer_weights(state.weights[name], scale, self._w_bits(state, name))
        rounded = torch_layout(levels * _along_channels(scale, levels))
        z = evaluate_node(node, sources, (rounded, torch.from_numpy(state.biases[name])))
        gain, shift = _gain_and_shift(self._exact.channels[name], z)
        z.mul_(gain[:, None, None]).add_(shift[:, None, None])
        return z, _Move(gain.numpy(), shift.numpy())

    def _stored(self, y: Tensor, name: str, state: QuantState) -> Tensor:
        """Real values as integers stand for them."""
        group = self._groups[name]
        if name not in group.computed:
            return y
        affine: AffineMap = state.maps[group.name]
        y = y.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(y)
        source, target = (t.permute(0, 2, 3, 1).reshape(-1).numpy() for t in (y, out))
        quantize_flat(source, np.float32(affine.scale), affine.zero_point, affine.qmax, target)
        return out


@dataclass(frozen=True, eq=False)
class _Move:
    """What a layer's outputs are multiplied with, and what is added then: float32 (oc,)."""

    gain: np.ndarray
    shift: np.ndarray

    @property
    def size_bytes(self) -> int:
        return self.gain.nbytes + self.shift.nbytes


def _moved(state: QuantState, moves: Mapping[str, _Move]) -> QuantState:
    weights, biases, scales = {}, {}, {}
    for name, weight in state.weights.items():
        gain, shift = moves[name].gain, moves[name].shift
        weights[name] = weight * _along_channels(gain, weight)
        biases[name] = state.biases[name] * gain + shift
        scales[name] = state.weight_scales[name] * gain
    return replace(state, weights=weights, biases=biases, weight_scales=scales)


def _gain_and_shift(y: _Channels, z: Tensor) -> tuple[Tensor, Tensor]:
    """Per channel, what maps the coarse z (n, c, h, w) to the exact y.

    The gain is the geometric mean of two: the ratio of standard deviations, which keeps the signal
    as strong as it was, and the slope of the regression of y on z, which does not amplify noise.
    """
    channels = _Channels.of(z)
    slope = channels.apart.mul_(y.apart).mean((0, 2, 3)) / channels.variance
    ratio = (y.variance / channels.variance).sqrt()
    gain = (slope.clamp_min(0) * ratio).sqrt()
    sound = (gain > 1 / _LARGEST_GAIN) & (gain < _LARGEST_GAIN)  # False for not-a-number, too
    gain = torch.where(sound, gain, torch.ones_like(gain))
    return gain, y.mean - gain * channels.mean


def _along_channels(vector: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return vector.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float32)
