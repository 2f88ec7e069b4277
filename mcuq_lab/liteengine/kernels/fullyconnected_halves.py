"""Fully connected layers whose weights lie in flash as halves of one or more channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.kernels.fullyconnected_halves_asm import (
    MOST_SUMS,
    ChannelHalves,
    halves_assembly,
    halves_cycles,
    round_inputs,
)
from mcuq_lab.liteengine.kernels.fullyconnected_layer import (
    HEADERS,
    assembled,
    fullyconnected_way,
    padded_weights,
    requantize_arguments,
    requantize_suffix,
)
from mcuq_lab.liteengine.lowering import NEAR, Lowered
from mcuq_lab.liteengine.packing.channel_pairs import (
    ChannelPairs,
    chain_field_bits,
    channel_pairs,
    packed_chain,
)
from mcuq_lab.quantgraph import QFullyConnected, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_PLAIN = tuple((1,) * channels for channels in range(1, MOST_SUMS + 1))
_PAIRS = tuple((2,) * pairs for pairs in range(1, MOST_SUMS + 1))
_CHAINS = ((3,), (4,), (3, 3), (3, 4))


def lower_fullyconnected_halves(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QFullyConnected`, by the fastest tiles, and by some that take less flash."""
    if not isinstance(op, QFullyConnected):
        return ()
    ways = [_Way.of(op, shape) for shape in halves_shapes(op, tensors)]
    fastest = min(ways, key=lambda way: way.cycles)
    near = [way for way in ways if way.cycles <= NEAR * fastest.cycles]
    chosen = (
        fastest,
        min(near, key=lambda way: (way.shape.round_inputs, way.cycles)),
        min(near, key=lambda way: (way.weight_bytes, way.cycles)),
    )
    return tuple(halves_way(op, way.shape) for way in dict.fromkeys(chosen))


def halves_shapes(op: QFullyConnected, tensors: Mapping[str, QTensor]) -> list[ChannelHalves]:
    """All kernels that can compute a layer.

    Rows are padded to whole rounds; what a kernel reads behind the last activation must lie within
    the eight bytes that a tensor's place in the arena is rounded up to.
    """
    source, stored = tensors[op.inputs[0]], tensors[op.output].storage_bits
    shortest, *longer = round_inputs(source.storage_bits)
    rounds = [shortest, *(each for each in longer if -len(op.weight[0]) % each < shortest)]
    shapes = (
        _shape(op, groups, source, stored, inputs)
        for groups in (*_PAIRS, *_CHAINS, *_PLAIN)
        for inputs in rounds
        if sum(groups) * stored % 8 == 0 or len(op.weight) <= sum(groups)
    )
    return [shape for shape in shapes if shape]


@dataclass(frozen=True)
class _Way:
    """A kernel, with its cycles and with the bytes of weights."""

    shape: ChannelHalves
    cycles: int
    weight_bytes: int

    @classmethod
    def of(cls, op: QFullyConnected, shape: ChannelHalves) -> _Way:
        tiles, inputs = -(-len(op.weight) // shape.channels), _inputs(op, shape.round_inputs)
        return cls(shape, halves_cycles(shape, inputs, tiles), 2 * tiles * shape.halves * inputs)


def _inputs(op: QFullyConnected, granule: int) -> int:
    """Of a layer, in whole rounds."""
    return -(-op.weight.shape[1] // granule) * granule


def _shape(
    op: QFullyConnected, groups: tuple[int, ...], source: QTensor, out_storage: int, granule: int
) -> ChannelHalves | None:
    """The kernel of tiles of these groups; None if sums do not fit."""
    padded = padded_weights(op.weight, sum(groups), granule)
    inputs = padded.shape[1]
    packing = ChannelPairs(0, inputs)
    if groups[0] == 2:
        packing = channel_pairs(padded, op.w_bits, source.qmax, granule)
    elif groups[0] > 2:
        packing = ChannelPairs(chain_field_bits(padded, op.w_bits, source.qmax, groups), inputs)
    if packing is None or (packing.field_bits == 0 and groups[0] > 1):
        return None
    requantize, segment_inputs = op.requantize, packing.segment_inputs
    return ChannelHalves(
        groups=groups,
        tail=(len(op.weight) - 1) % sum(groups) + 1,
        in_storage=source.storage_bits,
        out_storage=out_storage,
        field_bits=packing.field_bits,
        round_inputs=granule,
        segment_inputs=segment_inputs if segment_inputs < inputs else 0,
        whole=inputs % segment_inputs == 0,
        out_bits=requantize.bits,
        pre_shift=requantize.pre_shift,
        shift=requantize.shift,
    )


def halves_way(op: QFullyConnected, shape: ChannelHalves) -> Lowered:
    """A layer by one of its `halves_shapes`."""
    groups, in_storage, requantize = shape.groups, shape.in_storage, op.requantize
    padded = padded_weights(op.weight, shape.channels, shape.round_inputs)
    inputs = padded.shape[1]
    tiles = padded.reshape(-1, shape.channels, inputs)
    by_group = np.split(tiles, np.cumsum(groups)[:-1], axis=1)
    words = np.concatenate([packed_chain(group, shape.field_bits) for group in by_group], axis=1)
    # (tile, half of the tile, word of activations, its half, pair of fields)
    fields = 32 // in_storage
    split = (len(tiles), shape.halves, inputs // fields, 2, fields // 2)
    ordered = words.reshape(split).transpose(0, 2, 4, 1, 3)
    weights = ordered.reshape(len(tiles), -1).astype("<i2").view(np.uint8)
    kernel = f"le_fullyconnected_w{op.w_bits}a{in_storage}_halves{shape.name}"
    kernel = f"{kernel}_{requantize_suffix(requantize)}"
    digits = "".join(map(str, reversed(groups)))
    twin = (
        f"le_fullyconnected_halves(layer, in, out, {in_storage}, 0x{digits}, {shape.field_bits}, "
        f"{shape.segment_inputs or 'layer->in_c'}, {requantize_arguments(requantize)});"
    )
    files = assembled(
        kernel, "fullyconnected_halves_asm.py", halves_assembly(shape), twin,
        (*HEADERS, "le_fields.h", "le_fullyconnected_halves.h"),
    )  # fmt: skip
    return fullyconnected_way(
        op, kernel, files, _packing_text(shape, inputs), weights, weights.shape[1],
        shape.channels, halves_cycles(shape, inputs, len(tiles)), inputs=inputs,
    )  # fmt: skip


def _packing_text(shape: ChannelHalves, inputs: int) -> str:
    if max(shape.groups) == 1:
        return "halves, plain"
    per_half = f"{shape.channels} ch in {shape.halves}"
    segments = -(-inputs // shape.segment_inputs) if shape.segment_inputs else 1
    cut = f", {segments} segments" if segments > 1 else ""
    return f"halves of {per_half} s={shape.field_bits}{cut}"
