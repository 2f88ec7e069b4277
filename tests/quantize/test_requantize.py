"""Integer constants against the real arithmetic they stand for."""

import numpy as np
import pytest

from mcuq_lab.errors import NumericsError
from mcuq_lab.graph import Shape
from mcuq_lab.quantgraph import QTensor
from mcuq_lab.quantize.reference import requantize
from mcuq_lab.quantize.requantize import (
    requantize_add,
    requantize_average,
    requantize_weighted,
)


def tensor(bits, scale, zero_point=0) -> QTensor:
    return QTensor("t", Shape(1, 1, 1), bits, scale, zero_point)


def real_and_stored(rng, ratio, a_bits, w_bits, out_bits, depth, zero=True):
    """Real-valued outputs in steps, and what the constants make of the same accumulators."""
    z_x = int(rng.integers(0, 2**a_bits)) if zero else 0
    z_y = int(rng.integers(0, 2**out_bits)) if zero else 0
    x, y = tensor(a_bits, 0.37, z_x), tensor(out_bits, 0.11, z_y)
    limit = 1 << (w_bits - 1)
    weight = rng.integers(-limit, limit, (5, depth)).astype(np.int8)
    scale = ratio * y.scale / x.scale * rng.uniform(0.2, 1, 5)
    u = rng.integers(0, x.qmax + 1, (200, depth))
    acc = u @ weight.T.astype(np.int64)
    bias = -(scale * x.scale * (acc - z_x * weight.sum(1, dtype=int))).mean(0)
    bias += y.scale * (y.qmax / 2 - z_y)
    constants = requantize_weighted("layer", weight, scale, bias, x, y)
    real = z_y + (x.scale * scale * (acc - z_x * weight.sum(1, dtype=int)) + bias) / y.scale
    return real.clip(0, y.qmax), requantize(acc, constants), constants


@pytest.mark.parametrize("ratio", [1e-9, 1e-5, 0.001, 0.02, 0.3, 0.5, 1.0, 7.9])
@pytest.mark.parametrize("bits", [(8, 8, 8), (2, 2, 8), (4, 4, 2), (3, 5, 6)])
def test_outputs_are_the_real_values_rounded(ratio, bits):
    rng = np.random.default_rng(int(ratio * 1e9) + sum(bits))
    real, stored, constants = real_and_stored(rng, ratio, *bits, depth=40)
    # Half a step of rounding, and what the fractional bits leave.
    assert np.abs(real - stored).max() <= 0.5 + 2 / 2**constants.shift
    assert constants.shift == 6
    if ratio > 1e-5:
        assert len(np.unique(stored)) > 1


def test_a_small_ratio_needs_no_pre_shift():
    rng = np.random.default_rng(0)
    *_, constants = real_and_stored(rng, 0.005, 8, 8, 8, depth=144)
    assert constants.pre_shift == 0


@pytest.mark.parametrize("bits", [(8, 8, 8), (2, 2, 2), (4, 4, 8)])
def test_layers_of_all_scales_share_two_pairs_of_shifts(bits):
    rng = np.random.default_rng(1)
    ratios = 2 ** rng.uniform(-16, -1, 40)
    constants = [real_and_stored(rng, ratio, *bits, depth=144)[-1] for ratio in ratios]
    assert {(each.pre_shift, each.shift) for each in constants} == {(0, 6), (6, 6)}


def test_a_channel_without_weights_yields_its_bias():
    x, y = tensor(8, 0.1), tensor(8, 0.5, 3)
    weight = np.array([[1, -2], [0, 0]], np.int8)
    constants = requantize_weighted(
        "layer", weight, np.array([0.2, np.nan]), np.array([0.0, 10.0]), x, y
    )
    assert requantize(np.array([[0, 0]]), constants)[0, 1] == 23


@pytest.mark.parametrize(("bias", "expected"), [(1e12, 255), (-1e12, 0)])
def test_a_far_saturated_channel_stays_saturated(bias, expected):
    x, y = tensor(8, 0.1), tensor(8, 0.5)
    weight = np.array([[127, -128]], np.int8)
    constants = requantize_weighted("layer", weight, np.array([0.02]), np.array([bias]), x, y)
    acc = np.array([[-128 * 255], [0], [127 * 255]])
    assert (requantize(acc, constants) == expected).all()


def test_what_cannot_be_expressed_is_refused_by_name():
    x, y = tensor(8, 1.0), tensor(8, 1e-9)
    weight = np.full((1, 600), 127, np.int8)
    with pytest.raises(NumericsError, match=r"'wide'.*head-room"):
        requantize_weighted("wide", weight, np.ones(1), np.zeros(1), x, y)
    deep = np.full((1, 70_000), 127, np.int8)
    with pytest.raises(NumericsError, match=r"'deep'.*2\*\*31"):
        requantize_weighted("deep", deep, np.ones(1) * 1e-6, np.zeros(1), x, tensor(8, 1.0))
    with pytest.raises(NumericsError, match="'nan'"):
        requantize_weighted("nan", weight, np.array([np.nan]), np.zeros(1), x, y)
    with pytest.raises(NumericsError, match="bias"):
        requantize_weighted("b", weight, np.ones(1), np.array([np.inf]), x, tensor(8, 1.0))
    with pytest.raises(NumericsError, match="'sum'"):
        requantize_add("sum", tensor(8, 1e5), x, tensor(8, 1.0))


@pytest.mark.parametrize("seed", range(20))
def test_additions_are_the_real_sums_rounded(seed):
    rng = np.random.default_rng(seed)
    a, b, y = (
        tensor(bits, scale, int(rng.integers(0, 2**bits)))
        for bits, scale in zip(rng.integers(2, 9, 3), 2 ** rng.uniform(-3, 1, 3), strict=True)
    )
    ma, mb, offset, shift = requantize_add("sum", a, b, y)
    ua, ub = np.meshgrid(np.arange(a.qmax + 1), np.arange(b.qmax + 1))
    stored = ((ua * ma + ub * mb + offset) >> shift).clip(0, y.qmax)
    real = a.scale * (ua - a.zero_point) + b.scale * (ub - b.zero_point)
    real = (real / y.scale + y.zero_point).clip(0, y.qmax)
    # Multipliers of 15 bits: half a unit each, over the largest operands.
    slack = (a.qmax + b.qmax) / 2 / 2**shift
    assert np.abs(real - stored).max() <= 0.5 + slack + 1e-9


@pytest.mark.parametrize("elements", [1, 4, 9, 64, 1024])
def test_means_are_the_real_means_rounded(elements):
    x, y = tensor(8, 0.02, 17), tensor(8, 0.015, 40)
    constants = requantize_average("mean", elements, x, y)
    total = np.linspace(0, 255 * elements, 500).astype(np.int64)[:, None]
    real = (x.scale * (total / elements - 17) / y.scale + 40).clip(0, 255)
    assert np.abs(real - requantize(total, constants)).max() <= 0.5 + 2 / 2**constants.shift
