"""Fully connected layers whose weights lie in flash as halves of one or more channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.kernels.fullyconnected_halves_asm import (
    MOST_SEGMENT_BYTES,
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
    found = []
    for granule in rounds:
        packings: dict[tuple[int, ...], ChannelPairs | None] = {}
        for groups in (*_PAIRS, *_CHAINS, *_PLAIN):
            if sum(groups) * stored % 8 and len(op.weight) > sum(groups):
                continue
            repeated = groups[:1] if len(set(groups)) == 1 else groups
            if repeated not in packings:
                packings[repeated] = _packing(op, repeated, source, granule)
            if packing := packings[repeated]:
                found.append(_shape(op, groups, packing, granule, source.storage_bits, stored))
    return found


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


def _packing(
    op: QFullyConnected, groups: tuple[int, ...], source: QTensor, granule: int
) -> ChannelPairs | None:
    """Of tiles of these groups, or of more of them; None if sums do not fit."""
    weight = padded_weights(op.weight, sum(groups), granule)
    if groups[0] == 1:
        return ChannelPairs(0, weight.shape[1])
    if groups[0] == 2:
        most_inputs = MOST_SEGMENT_BYTES * 8 // source.storage_bits
        return channel_pairs(weight, op.w_bits, source.qmax, granule, most_inputs)
    bits = chain_field_bits(weight, op.w_bits, source.qmax, groups)
    return ChannelPairs(bits, weight.shape[1]) if bits else None


def _shape(
    op: QFullyConnected,
    groups: tuple[int, ...],
    packing: ChannelPairs,
    granule: int,
    in_storage: int,
    out_storage: int,
) -> ChannelHalves:
    inputs = _inputs(op, granule)
    requantize, segment_inputs = op.requantize, packing.segment_inputs
    return ChannelHalves(
        groups=groups,
        tail=(len(op.weight) - 1) % sum(groups) + 1,
        in_storage=in_storage,
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
    inputs, tiles = _inputs(op, shape.round_inputs), -(-len(op.weight) // shape.channels)
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
        op, kernel, files, _packing_text(shape, inputs), lambda: _weights(op, shape),
        2 * shape.halves * inputs, shape.channels, halves_cycles(shape, inputs, tiles),
        inputs=inputs,
    )  # fmt: skip


def _weights(op: QFullyConnected, shape: ChannelHalves) -> np.ndarray:
    """As the kernel reads them: uint8."""
    padded = padded_weights(op.weight, shape.channels, shape.round_inputs)
    tiles = padded.reshape(-1, shape.channels, padded.shape[1])
    by_group = np.split(tiles, np.cumsum(shape.groups)[:-1], axis=1)
    words = np.concatenate([packed_chain(group, shape.field_bits) for group in by_group], axis=1)
    # (tile, half of the tile, word of activations, its half, pair of fields)
    fields = 32 // shape.in_storage
    split = (len(tiles), shape.halves, padded.shape[1] // fields, 2, fields // 2)
    return words.reshape(split).transpose(0, 2, 4, 1, 3).astype("<i2").reshape(-1).view(np.uint8)


def _packing_text(shape: ChannelHalves, inputs: int) -> str:
    if max(shape.groups) == 1:
        return "halves, plain"
    per_half = f"{shape.channels} ch in {shape.halves}"
    segments = -(-inputs // shape.segment_inputs) if shape.segment_inputs else 1
    cut = f", {segments} segments" if segments > 1 else ""
    return f"halves of {per_half} s={shape.field_bits}{cut}"
