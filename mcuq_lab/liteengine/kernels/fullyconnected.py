"""Fully connected layers: weights go from flash straight into the product, each is used once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mcuq_lab.liteengine.dense import LANE_FIELDS, pack_lanes
from mcuq_lab.liteengine.kernels.fullyconnected_asm import (
    LARGEST_TILE_PAIRS,
    BytePairs,
    byte_pairs_assembly,
    byte_pairs_cycles,
)
from mcuq_lab.liteengine.kernels.fullyconnected_layer import (
    HEADERS,
    PARAMETERS,
    assembled,
    fullyconnected_way,
    padded_weights,
    requantize_arguments,
    requantize_suffix,
)
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.lowering import Lowered, near_fastest
from mcuq_lab.quantgraph import QFullyConnected, QOp, QTensor
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import DEFAULT_TARGET, Target

_CHANNELS = (4, 2, 1)
_BYTES_GROUP = 8  # inputs in a round of the loop
_LARGEST_SUM = 1 << 24
_MOST_SIGNED = 8  # outputs


def lower_fullyconnected_lanes(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QFullyConnected`, by tiles of 4, 2 or 1 outputs.

    Smaller tiles take more inputs at a time. What they read behind the last one must lie within the
    eight bytes that a tensor's place in the arena is rounded up to; tiles of 4 always keep to that.
    """
    if not isinstance(op, QFullyConnected):
        return ()
    source = tensors[op.inputs[0]]
    place = eight_byte_aligned(source.size_bytes)
    ways = (
        _lanes(op, tensors, channels)
        for channels in _CHANNELS
        if _read_bytes(source, channels) <= place
    )
    return tuple(
        near_fastest(
            ways,
            lambda way: way.kernel,
            lambda way: way.predicted_cycles,
            lambda way: way.scratch_bytes,
        )
    )


def lower_fullyconnected_bytes(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QFullyConnected` whose sums stay below 2**24; weights of any width lie there as bytes."""
    if not isinstance(op, QFullyConnected):
        return ()
    source = tensors[op.inputs[0]]
    sums = np.abs(op.weight.astype(np.int64)).sum(axis=1)
    if source.qmax * int(sums.max()) >= _LARGEST_SUM:
        return ()
    oc, ic = op.weight.shape
    out_storage = tensors[op.output].storage_bits
    padded = padded_weights(op.weight, 2, _BYTES_GROUP)
    # (pair, channel, four inputs, upper or lower two, its even or odd one)
    quads = padded.reshape(-1, 2, padded.shape[1] // 4, 2, 2)
    halves = 256 * quads[:, 1] + quads[:, 0] + 128
    weights = _by_tiles(halves.astype("<i2").transpose(0, 1, 3, 2))
    kernel, files = _byte_pairs_kernel(op, source.storage_bits, out_storage)
    return (
        fullyconnected_way(
            op, kernel, files, "byte pairs of 2 ch", lambda: weights, 2 * padded.shape[1], 2,
            _bytes_cycles(oc, ic, source.storage_bits, out_storage),
            inputs=padded.shape[1],
        ),
    )  # fmt: skip


def _byte_pairs_kernel(
    op: QFullyConnected, in_storage: int, out_storage: int
) -> tuple[str, tuple[SourceFile, ...]]:
    """Name and files: in assembly for bytes of activations, unless outputs are four in a byte."""
    requantize, headers = op.requantize, (*HEADERS, "le_fullyconnected_bytes.h")
    stem = f"le_fullyconnected_w8a{in_storage}_bytes"
    arguments = requantize_arguments(requantize)
    body = f"le_fullyconnected_bytes(layer, in, out, {in_storage}, {arguments});"
    if not _has_assembly(in_storage, out_storage):
        kernel = f"{stem}_{requantize_suffix(requantize)}"
        return kernel, specialised(kernel, PARAMETERS, body, headers)
    channels = len(op.weight)
    shape = BytePairs(
        tiles=tuple(dict.fromkeys(_tiles(-(-channels // 2)))),
        odd=channels % 2 == 1 and out_storage == 8,
        out_storage=out_storage,
        out_bits=requantize.bits,
        pre_shift=requantize.pre_shift,
        shift=requantize.shift,
    )
    kernel = f"{stem}{shape.name}_{requantize_suffix(requantize)}"
    return kernel, assembled(
        kernel, "fullyconnected_asm.py", byte_pairs_assembly(shape), body, headers
    )


def _has_assembly(in_storage: int, out_storage: int) -> bool:
    return in_storage == 8 and out_storage != 2


def lower_fullyconnected_signed(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QFullyConnected` of few outputs: wider tiles would compute others for nothing."""
    if not isinstance(op, QFullyConnected) or len(op.weight) > _MOST_SIGNED:
        return ()
    storage = tensors[op.inputs[0]].storage_bits
    pairs, single = divmod(len(op.weight), 2)
    word = 32 // storage
    padded = padded_weights(op.weight, 1, max(word, _BYTES_GROUP))
    # (channel, word, its half, two pairs, first or second pair)
    words = padded.reshape(len(padded), -1, 2, word // 4, 2).transpose(0, 1, 3, 2, 4)
    quads = words.reshape(len(padded), -1, 4)
    tiles = (quads[i : i + 2].swapaxes(0, 1).reshape(-1) for i in range(0, len(quads), 2))
    weights = np.concatenate(list(tiles)).astype(np.int8).view(np.uint8)
    kernel = f"le_fullyconnected_a{storage}_signed{min(pairs, 1) * 2 + single}"
    body = (
        f"le_fullyconnected_signed(layer, in, out, {storage}, {min(pairs, 1)}, {single}, "
        f"{requantize_arguments(op.requantize)});"
    )
    kernel = f"{kernel}_{requantize_suffix(op.requantize)}"
    headers = (*HEADERS, "le_fields.h", "le_fullyconnected_signed.h")
    return (
        fullyconnected_way(
            op, kernel, specialised(kernel, PARAMETERS, body, headers), "plain", lambda: weights,
            padded.shape[1], 1, _signed_cycles(pairs, single, padded.shape[1]),
        ),
    )  # fmt: skip


def _read_bytes(source: QTensor, channels: int) -> int:
    """Bytes of activations that whole groups of a tile cover."""
    inputs = 2 * LANE_FIELDS // channels
    return -(-source.shape.c // inputs) * inputs * source.storage_bits // 8


def _lanes(op: QFullyConnected, tensors: Mapping[str, QTensor], channels: int) -> Lowered:
    source = tensors[op.inputs[0]]
    oc, ic = op.weight.shape
    inputs = 2 * LANE_FIELDS // channels
    padded = padded_weights(op.weight, channels, inputs)
    surplus = (1 << (op.w_bits - 1)) * _real(padded.shape, ic)
    # (tile, channel, group, word of activations, lane, pair)
    word = min(32 // source.storage_bits, inputs)
    split = (-1, channels, padded.shape[1] // inputs, inputs // word, 2, word // 2)
    fields = (padded + surplus).reshape(split).transpose(0, 2, 3, 5, 1, 4)
    weights = pack_lanes(fields.reshape(len(padded) // channels, -1, LANE_FIELDS, 2), op.w_bits)
    kernel = f"le_fullyconnected_w{op.w_bits}a{source.storage_bits}_lanes{channels}"
    body = (
        f"le_fullyconnected_lanes(layer, in, out, {op.w_bits}, {source.storage_bits}, "
        f"{channels}, {requantize_arguments(op.requantize)});"
    )
    kernel = f"{kernel}_{requantize_suffix(op.requantize)}"
    files = specialised(kernel, PARAMETERS, body, (*HEADERS, "le_fullyconnected_lanes.h"))
    return fullyconnected_way(
        op, kernel, files, f"lanes of {channels} ch", lambda: weights, weights.shape[1], channels,
        _lanes_cycles(oc, ic, op.w_bits, source.storage_bits, channels),
    )  # fmt: skip


def _real(shape: tuple[int, ...], inputs: int) -> np.ndarray:
    """1 where the last axes of `shape`, one after the other, count a real input, else 0."""
    counted = np.arange(int(np.prod(shape[1:]))).reshape(1, *shape[1:])
    return (counted < inputs).astype(np.int64)


def _tiles(pairs: int) -> list[int]:
    """Pairs of channels in each tile, as `le_fullyconnected_bytes` takes them."""
    tiles = []
    while pairs:
        tiles.append(2 if pairs in (2, 4) else min(pairs, LARGEST_TILE_PAIRS))
        pairs -= tiles[-1]
    return tiles


def _by_tiles(halves: np.ndarray) -> np.ndarray:
    """Halves (channel pairs, quads, even or odd, 2), the pairs of a tile side by side: uint8."""
    ends = np.cumsum(_tiles(len(halves)))[:-1]
    tiles = (np.swapaxes(tile, 0, 1).reshape(-1) for tile in np.split(halves, ends))
    return np.concatenate(list(tiles)).view(np.uint8)


def _lanes_cycles(oc: int, ic: int, w_bits: int, storage: int, channels: int) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    groups, tiles = -(-ic * channels // (2 * LANE_FIELDS)), -(-oc // channels)
    straddling = sum(k * w_bits % 16 + w_bits > 16 for k in range(LANE_FIELDS))
    words = -(-LANE_FIELDS // channels * storage // 16)
    group = 2 * LANE_FIELDS + LANE_FIELDS // channels + 2 * (w_bits + words) + 3 * straddling + 5
    return tiles * (groups * group + 18 * channels + 25) + _sum_cycles(ic, storage)


def _bytes_cycles(oc: int, ic: int, storage: int, out_storage: int) -> int:
    """Of assembly counted, else an estimate fitted to simulated Cortex-M4 runs."""
    if _has_assembly(storage, out_storage):
        return byte_pairs_cycles(_tiles((oc + 1) // 2), ic, oc % 2 == 1)
    rounds = -(-ic // _BYTES_GROUP)
    tile = rounds * 46 + 70
    return (
        (oc + 1) // 4 * tile + ((oc + 1) // 2 % 2) * (rounds * 28 + 45) + _sum_cycles(ic, storage)
    )


def _sum_cycles(ic: int, storage: int) -> int:
    words = -(-ic * storage // 32)
    return 60 + words * {8: 9, 4: 12, 2: 15}[storage]


def _signed_cycles(pairs: int, single: int, inputs: int) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    return 60 + pairs * (inputs * 36 // 8 + 40) + single * (inputs * 24 // 8 + 20)
