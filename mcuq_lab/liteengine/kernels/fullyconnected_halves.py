"""Fully connected layers of narrow weights, two channels a half as they lie in flash."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mcuq_lab.liteengine.kernels.fullyconnected_halves_asm import (
    MOST_PAIRS,
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
    channel_pairs,
    packed_pairs,
)
from mcuq_lab.quantgraph import QFullyConnected, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target


def lower_fullyconnected_halves(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QFullyConnected` whose sums fit into segments, by tiles of 1 to 5 pairs of channels."""
    if not isinstance(op, QFullyConnected) or op.w_bits == 8:
        return ()
    source = tensors[op.inputs[0]]
    granule = round_inputs(source.storage_bits)
    weight = padded_weights(op.weight, 2, granule)
    packing = channel_pairs(weight, op.w_bits, source.qmax, granule)
    if packing is None:
        return ()
    stored = tensors[op.output].storage_bits
    numbers = [
        pairs
        for pairs in range(1, MOST_PAIRS + 1)
        if pairs <= len(weight) // 2 or pairs == 2 == 4 // stored
    ]
    ways = [
        _way(op, packing, pairs, source.storage_bits, stored)
        for pairs in numbers
        if stored != 2 or pairs % 2 == 0
    ]
    fastest = min(ways, key=lambda way: way.predicted_cycles)
    smaller = [
        way
        for way in ways
        if way.weights_bytes < fastest.weights_bytes
        and way.predicted_cycles <= NEAR * fastest.predicted_cycles
    ]
    return (fastest, *sorted(smaller, key=lambda way: way.predicted_cycles)[:1])


def _way(
    op: QFullyConnected, packing: ChannelPairs, pairs: int, in_storage: int, out_storage: int
) -> Lowered:
    granule, requantize = round_inputs(in_storage), op.requantize
    padded = padded_weights(op.weight, 2 * pairs, granule)
    channels, inputs = padded.shape
    segment_inputs = packing.segment_inputs
    shape = ChannelHalves(
        pairs=pairs,
        tail=len(op.weight) - (channels - 2 * pairs),
        in_storage=in_storage,
        out_storage=out_storage,
        field_bits=packing.field_bits,
        segment_inputs=segment_inputs if segment_inputs < inputs else 0,
        whole=inputs % segment_inputs == 0,
        out_bits=requantize.bits,
        pre_shift=requantize.pre_shift,
        shift=requantize.shift,
    )
    # (tile, pair of channels, word of activations, its half, pair of fields)
    fields = 32 // in_storage
    split = (-1, pairs, inputs // fields, 2, fields // 2)
    halves = packed_pairs(padded, packing.field_bits).reshape(split).transpose(0, 2, 4, 1, 3)
    weights = halves.reshape(channels // (2 * pairs), -1).astype("<i2").view(np.uint8)
    kernel = f"le_fullyconnected_w{op.w_bits}a{in_storage}_halves{shape.name}"
    kernel = f"{kernel}_{requantize_suffix(requantize)}"
    twin = (
        f"le_fullyconnected_halves(layer, in, out, {in_storage}, {pairs}, {packing.field_bits}, "
        f"{shape.segment_inputs or 'layer->in_c'}, "
        f"{requantize_arguments(requantize)});"
    )
    files = assembled(
        kernel, "fullyconnected_halves_asm.py", halves_assembly(shape), twin,
        (*HEADERS, "le_fields.h", "le_fullyconnected_halves.h"),
    )  # fmt: skip
    segments = f", {-(-inputs // segment_inputs)} segments" if shape.segment_inputs else ""
    words = f"halves of 2 ch s={packing.field_bits}{segments}"
    return fullyconnected_way(
        op, kernel, files, words, weights, weights.shape[1], 2 * pairs,
        halves_cycles(shape, inputs, len(weights)), inputs=inputs,
    )  # fmt: skip
