"""Folded depthwise convolutions: packings are exact, limits tight; kernels equal the reference."""

from __future__ import annotations

import itertools
import random
from functools import partial

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.depthwise_fold import (
    SCRATCH_BYTES,
    lower_depthwise_fold,
    with_shift_16,
)
from mcuq_lab.liteengine.packing.fold import FoldPacking, fold_packings
from mcuq_lab.liteengine.plan import plan
from mcuq_lab.quantgraph import QDepthwiseConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.simulated_core import has_toolchain

ALL_PAIRS = list(itertools.product(range(2, 9), repeat=2))
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def packed_sums(
    packing: FoldPacking, weight: np.ndarray, a_bits: int, pixels: np.ndarray
) -> np.ndarray:
    """acc + start as SMLAD computes it: `weight` (c, n), `pixels` (folds, n); gives (folds, c)."""
    halves = sum(pixels[i].astype(np.int64) << (i * packing.field_bits) for i in range(len(pixels)))
    assert (halves == halves.astype(np.int16)).all()
    start = ((1 << a_bits) - 1) * np.maximum(-weight, 0).sum(axis=1)
    sums = (start * packing.start_factor + weight @ halves) % (1 << 32)
    if packing.folds == 1:
        return sums[None]
    return np.stack([sums % (1 << packing.field_bits), sums >> packing.field_bits])


def exact_sums(weight: np.ndarray, a_bits: int, pixels: np.ndarray) -> np.ndarray:
    start = ((1 << a_bits) - 1) * np.maximum(-weight, 0).sum(axis=1)
    return pixels.astype(np.int64) @ weight.T + start


def check_packings(weight: np.ndarray, a_bits: int, pixels: np.ndarray) -> int:
    """Checks all packings of `weight` (c, n); returns how many there are."""
    packings = list(fold_packings(weight[:, None, :, None], a_bits))
    for packing in packings:
        chosen = pixels[: packing.folds]
        np.testing.assert_array_equal(
            packed_sums(packing, weight, a_bits, chosen), exact_sums(weight, a_bits, chosen)
        )
    return len(packings)


@pytest.mark.parametrize(("w_bits", "a_bits"), ALL_PAIRS)
def test_every_packing_is_exact(w_bits, a_bits):
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    low, high, amax = -(1 << (w_bits - 1)), (1 << (w_bits - 1)) - 1, (1 << a_bits) - 1
    for taps in (9, 25):
        for weight in (
            rng.integers(low, high + 1, (4, taps)),
            rng.choice([low, high], (4, taps)),
            np.full((4, taps), low),
            np.full((4, taps), high),
        ):
            for pixels in (
                rng.integers(0, amax + 1, (2, taps)),
                np.where(weight[:2] < 0, amax, 0),
                np.where(weight[:2] < 0, 0, amax),
                np.full((2, taps), amax),
            ):
                check_packings(weight, a_bits, pixels)


def test_exhaustive_at_the_limit():
    """Two taps of two channels, sums as large as fields take, all corners of both folds."""
    for a_bits in range(2, 8):
        amax, field = (1 << a_bits) - 1, 1 << (15 - a_bits)
        largest = (field - 1) // amax  # sum|w|
        corners = np.array(list(itertools.product((0, amax), repeat=4))).reshape(-1, 2, 2)
        for first in {0, 1, largest // 2, largest}:
            for signs in itertools.product((-1, 1), repeat=2):
                taps = np.array([first * signs[0], (largest - first) * signs[1]])
                weight = np.stack([taps, -taps])
                folded = 15 - a_bits >= a_bits
                for pixels in corners:
                    assert check_packings(weight, a_bits, pixels) == 1 + folded


def test_field_limit_is_tight():
    """15 * sum|w| = 2**11 - 8 leaves two folds, one more weight does not."""
    weight = np.full((1, 1, 17, 1), 8)  # 15 * 136 = 2040
    assert [packing.folds for packing in fold_packings(weight, 4)] == [1, 2]
    weight[0, 0, 0, 0] = 9
    assert [packing.folds for packing in fold_packings(weight, 4)] == [1]


def test_activation_limit():
    """Eight bits and seven more reach the sign of a half."""
    weight = np.zeros((1, 3, 3, 1), np.int64)
    assert [len(list(fold_packings(weight, bits))) for bits in (2, 7, 8)] == [2, 2, 1]


def layer(seed: int) -> QuantGraph:
    """A layer with random widths, shapes, windows, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = ALL_PAIRS[seed * 17 % len(ALL_PAIRS)]
    kernel, stride = rng.choice((3, 3, 5)), rng.randint(1, 2)
    padding = (rng.randrange(kernel) for _ in range(4))
    channels = rng.choice((1, 2, 3, 5, 8, 9, 12, 16, 18, 32))
    return with_odd_values(
        QDepthwiseConv2d,
        Shape(rng.randint(5, 19), rng.randint(5, 12), channels),
        channels,
        Window(kernel, kernel, stride, stride, *padding),
        (w_bits, a_bits),
        a_bits if rng.random() < 0.6 else rng.randint(2, 8),
        rng,
        seed,
    )


@pytest.mark.parametrize("seed", range(20))
def test_a_shift_of_16_changes_no_output(seed):
    """All sums that a channel can have."""
    graph = layer(seed)
    op, source = graph.ops[0], graph.input
    peak = source.qmax * np.abs(op.weight.astype(np.int64)).sum(axis=(1, 2, 3))
    sums = np.linspace(0, peak, min(int(peak.max()) + 1, 4096)).astype(np.int64)  # (n, c)
    outputs = []
    for requantize in (op.requantize, with_shift_16(op, source)):
        t = ((sums << requantize.pre_shift) * requantize.multiplier) >> 32
        reach = np.abs(t + requantize.offset)
        assert (sums << requantize.pre_shift < 1 << 31).all()
        assert (reach < 1 << 31).all()
        y = (t + requantize.offset) >> requantize.shift
        outputs.append(y.clip(0, (1 << requantize.bits) - 1))
    np.testing.assert_array_equal(*outputs)


def check(graph: QuantGraph, *, on_core: bool) -> None:
    """Runs every way to compute the network's layers, the n-th of each layer together."""
    for index in range(len(SCRATCH_BYTES)):
        family = partial(way, index)
        check_exact(graph, (family,), on_core=on_core)
        if index + 1 >= max(len(lower_depthwise_fold(op, graph.tensors)) for op in graph.ops):
            return


def way(index: int, *layer) -> tuple:
    """The `index`-th way to compute a layer, or the last one."""
    ways = lower_depthwise_fold(*layer)
    return ways[index : index + 1] or ways[-1:]


@pytest.mark.slow
def test_some_widths_on_the_host():
    check(chain(QDepthwiseConv2d, ALL_PAIRS[::8]), on_core=False)


@needs_toolchain
@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_all_widths_on_the_core(part):
    check(chain(QDepthwiseConv2d, ALL_PAIRS[part::2], seed=part), on_core=True)


@pytest.mark.parametrize("seed", range(6))
def test_odd_layers_on_the_host(seed):
    check(layer(seed), on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(6, 18))
def test_odd_layers_on_the_core(seed):
    check(layer(seed), on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(100, 300))
def test_many_layers(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check(layer(seed), on_core=on_core)


@pytest.mark.parametrize("pads", [(0, 2), (2, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("a_bits", [3, 5, 6])
def test_border_rows_of_narrow_fields(a_bits, pads):
    """Rows that are taken from the other fold, where a field in memory is wider than in a half."""
    window = Window(3, 3, 1, 1, *pads, 1, 1)
    widths = {"w_bits": 2, "a_bits": a_bits, "out_bits": a_bits}
    check(single_layer(QDepthwiseConv2d, Shape(6, 12, 16), 16, window, **widths), on_core=False)


def test_small_scratch_means_bands_and_all_ways_are_in_place():
    """A map of 48x48: bands keep the rows that the band before has overwritten."""
    shape, window = Shape(48, 48, 8), Window.square(3, 1, 1)
    graph = single_layer(QDepthwiseConv2d, shape, 8, window, w_bits=4, a_bits=4, out_bits=4)
    ways = lower_depthwise_fold(graph.ops[0], graph.tensors)
    assert len(ways) == len(SCRATCH_BYTES)
    for limit, found in zip(SCRATCH_BYTES, ways, strict=True):
        assert found.scratch_bytes <= limit
        assert found.in_place == (0,)


def test_layers_of_one_width_are_computed_in_place():
    """Both strides; the host's sanitizers and the reference see what is overwritten too early."""
    graph = chain(QDepthwiseConv2d, [(4, 4), (4, 4), (4, 4), (3, 3)])
    families = (lower_depthwise_fold,)
    offsets = plan(graph, families).tensor_offsets
    assert any(offsets[op.inputs[0]] == offsets[op.output] for op in graph.ops)
    check(graph, on_core=False)


def test_what_it_does_not_take():
    for window in (Window(3, 5), Window(3, 3, 1, 2), Window(7, 7), Window(3, 3, 3, 3)):
        graph = single_layer(QDepthwiseConv2d, Shape(12, 12, 4), 4, window)
        assert lower_depthwise_fold(graph.ops[0], graph.tensors) == ()
