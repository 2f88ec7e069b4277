"""Compact convolutions: packings are exact, their limits tight; the kernels equal the reference."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import generate_sources, in_strips, plan
from mcuq_lab.liteengine.kernels.compact import compact_columns, lower_compact
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.packing.compact import (
    TAPS,
    CompactPacking,
    CompactWord,
    compact_packings,
    packed_taps,
)
from mcuq_lab.quantgraph import QConv2d, QuantGraph
from mcuq_lab.quantize import random_inputs, run_reference, single_layer
from mcuq_lab.storage import pack_batch
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.simulated_core import has_toolchain

PAIRS = list(itertools.product(range(2, 5), repeat=2))
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def packed_sums(
    packing: CompactPacking, taps: np.ndarray, a_bits: int, rows: np.ndarray
) -> np.ndarray:
    """acc + start of all positions as SMLAL and the line of sums give it.

    `taps` are (oc, steps, 3), `rows` pixels (steps, blocks * m); returns (oc, positions), position
    p of which has met pixel p - 2 + j at tap j.
    """
    word, amax = packing.word, (1 << a_bits) - 1
    oc, steps = taps.shape[:2]
    blocks = rows.shape[1] // word.pixels
    weights = packed_taps(taps, word)
    count = word.pixels + 2
    line = np.zeros((oc, blocks * word.pixels + 2), np.int64)
    line[:, :2] = packing.carried(amax)
    places = [1 << i * word.shift for i in range(word.pixels)]
    for block in range(blocks):
        pixels = rows[:, block * word.pixels : (block + 1) * word.pixels].astype(np.int64) @ places
        assert pixels.max(initial=0) < 1 << 31
        for first in range(0, packing.segments * packing.segment_steps, packing.segment_steps):
            part = slice(first, min(first + packing.segment_steps, steps))
            for channel in range(oc):
                products = zip(pixels[part].tolist(), weights[channel, part].tolist(), strict=True)
                total = (packing.start(amax) + sum(a * w for a, w in products)) % (1 << 64)
                for field in range(count):
                    value = total >> field * word.shift
                    value &= (1 << (word.top_bits if field == count - 1 else word.shift)) - 1
                    line[channel, block * word.pixels + field] += value
    negative = amax * np.maximum(-taps.astype(np.int64), 0).sum((1, 2))
    first = negative - packing.segments * amax * packing.negative[0]
    return line[:, : blocks * word.pixels] + first[:, None]


def exact_sums(taps: np.ndarray, a_bits: int, rows: np.ndarray) -> np.ndarray:
    padded = np.pad(rows.astype(np.int64), ((0, 0), (TAPS - 1, 0)))
    width = rows.shape[1]
    start = ((1 << a_bits) - 1) * np.maximum(-taps.astype(np.int64), 0).sum((1, 2))
    met = sum(taps[:, :, j].astype(np.int64) @ padded[:, j : j + width] for j in range(TAPS))
    return met + start[:, None]


@pytest.mark.parametrize(("w_bits", "a_bits"), PAIRS)
def test_every_packing_is_exact(w_bits, a_bits):
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    low, high, amax = -(1 << (w_bits - 1)), (1 << (w_bits - 1)) - 1, (1 << a_bits) - 1
    found = 0
    for taps in (
        rng.integers(low, high + 1, (3, 40, TAPS)),
        rng.choice([low, high], (3, 12, TAPS)),
        np.full((3, 24, TAPS), low),
        np.full((3, 24, TAPS), high),
    ):
        for packing in compact_packings(taps, a_bits, 4, 16):
            steps, width = taps.shape[1], 3 * packing.word.pixels
            for rows in (
                rng.integers(0, amax + 1, (steps, width)),
                rng.choice([0, amax], (steps, width)),
                np.full((steps, width), amax),
            ):
                np.testing.assert_array_equal(
                    packed_sums(packing, taps, a_bits, rows),
                    exact_sums(taps, a_bits, rows),
                    str(packing),
                )
                found += 1
    assert found


def test_field_limit_is_tight():
    """15 * (N + P) = 2**13 - 2 needs one segment at s = 13; one more weight needs two."""
    taps = np.zeros((1, 400, TAPS), np.int64)
    taps[0, :273, 2] = -1
    taps[0, 273:400, 1] = 2
    taps[0, 0, 0] = 2
    taps[0, 399, 1] = 2 + 17  # 15 * (273 + 273) = 8190

    def segments() -> int:
        (packing,) = (p for p in compact_packings(taps, 4, 4, 16) if p.word == CompactWord(3, 13))
        return packing.segments

    assert np.maximum(taps, 0).sum() == np.maximum(-taps, 0).sum() == 273
    assert segments() == 1
    taps[0, 5, 0] = 1
    assert segments() == 2


@pytest.mark.parametrize("seed", range(40))
def test_columns_give_each_output_its_window(seed):
    rng = random.Random(seed)
    kernel, stride, zero_point = rng.randint(1, 6), rng.randint(1, 3), rng.randint(0, 1)
    window = Window(1, kernel, 1, stride, 0, 0, rng.randrange(kernel), rng.randrange(kernel))
    columns = compact_columns(window, zero_point)
    if columns is None:
        assert kernel > TAPS or stride > 2
        return
    seen = [
        (k, phase.column + (x + columns.skipped - (TAPS - 1) + j) * stride)
        for x in range(5)
        for phase in columns.phases
        for j, k in enumerate(phase.taps, TAPS - phase.place - len(phase.taps))
    ]
    expected = [(k, x * stride + k - window.pad_left) for x in range(5) for k in range(kernel)]
    assert sorted(seen) == sorted(expected)
    left_out = 0 if zero_point else window.pad_left
    assert all(phase.column >= left_out - window.pad_left for phase in columns.phases)


def ways(graph: QuantGraph) -> tuple[Lowered, ...]:
    return lower_compact(graph.ops[0], graph.tensors)


def check(graph: QuantGraph, *, on_core: bool) -> None:
    """All ways to compute a layer."""
    for way in ways(graph):
        check_exact(graph, (lambda op, tensors, target, way=way: (way,),), on_core=on_core)


def odd_layer(seed: int) -> QuantGraph:
    """A layer with random widths, shapes, windows, zero points and kinds of weights."""
    rng = random.Random(seed)
    stride = rng.randint(1, 2)
    kernel = rng.choice((1, 2, 3, 3) if stride == 1 else (1, 2, 3, 4, 5))
    padding = (rng.randrange(kernel) for _ in range(4))
    return with_odd_values(
        QConv2d,
        Shape(rng.randint(5, 9), rng.randint(5, 9), rng.choice((1, 2, 3, 5, 8, 9, 16, 33, 64))),
        rng.randint(1, 17),
        Window(kernel, kernel, stride, stride, *padding),
        PAIRS[seed * 7 % len(PAIRS)],
        rng.randint(2, 8),
        rng,
        seed,
    )


def test_most_odd_layers_have_a_way():
    assert sum(bool(ways(odd_layer(seed))) for seed in range(40)) > 30


@pytest.mark.parametrize("seed", range(6))
def test_odd_layers_on_the_host(seed):
    check(odd_layer(seed), on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(6, 16))
def test_odd_layers_on_the_core(seed):
    check(odd_layer(seed), on_core=True)


@needs_toolchain
@pytest.mark.slow
def test_all_widths_on_the_core():
    check_exact(chain(QConv2d, PAIRS), (lower_compact,), on_core=True)


@needs_toolchain
@pytest.mark.parametrize("out_bits", [2, 4, 8])
@pytest.mark.parametrize("out_channels", [5, 8])
def test_many_segments_and_an_odd_number_of_rows(out_bits, out_channels):
    graph = single_layer(
        QConv2d, Shape(7, 5, 96), out_channels, Window.square(3, 1, 1), w_bits=4, a_bits=4,
        out_bits=out_bits, zero_point=3,
    )  # fmt: skip
    assert any("segments" in way.packing for way in ways(graph))
    check(graph, on_core=True)


def test_sums_beyond_16_bits_are_refused():
    for channels, fits in ((60, True), (140, False)):
        graph = single_layer(
            QConv2d, Shape(4, 4, channels), 4, Window.square(3), w_bits=4, a_bits=4, out_bits=4
        )
        assert bool(ways(graph)) == fits


@pytest.mark.parametrize(("rows", "unit"), [(1, 1), (3, 1), (4, 2)])
def test_in_strips_of_rows(rows, unit):
    graph = chain(QConv2d, [(4, 4), (3, 4), (4, 2)], size=(11, 9))
    strips = in_strips(graph, 3, rows, unit)
    inputs = random_inputs(graph, 3)
    sources = generate_sources(plan(graph, (lower_compact,), strips=strips))
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    np.testing.assert_array_equal(run_on_host(sources, pack_batch(inputs, graph.input)), expected)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_odd_layers(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check(odd_layer(seed), on_core=on_core)
