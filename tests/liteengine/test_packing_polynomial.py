"""The general model: exact where nothing is violated, wrong somewhere one step beyond."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.liteengine.packing.halves import halves_packings
from mcuq_lab.liteengine.packing.limits import as_terms, best, limits
from mcuq_lab.liteengine.packing.polynomial import (
    SMLABB,
    SMLAD,
    SMLAL,
    SMLALD,
    Family,
    Packing,
    Violation,
    packings,
    violations,
)
from mcuq_lab.liteengine.packing.row import row_packings
from mcuq_lab.liteengine.packing.vertical import F23, F43, vertical_violations
from tests.support.packing_model import packed_and_true

WIDTHS = tuple(itertools.product(range(2, 9), repeat=2))
FAMILIES = tuple(Family)


def weights_of(rng, family: Family, bits: int, terms: int, channels: int = 1) -> np.ndarray:
    shape = (channels, 3, terms) if family is Family.ROW else (channels, terms)
    return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), shape)


def channels_of(packing: Packing) -> int:
    return len(packing.w_words[0]) if packing.family is Family.OUTER else 1


def check(packing: Packing, weight: np.ndarray, a_bits: int, activations: np.ndarray) -> None:
    found, true = packed_and_true(packing, weight, a_bits, activations)
    assert found == true, f"{packing}: {weight.tolist()} {activations.tolist()}"


def operands(packing: Packing, terms: int) -> tuple[int, int, int]:
    if packing.family is Family.DOT:
        terms = -(-terms // len(packing.a_places))
    return len(packing.w_words), len(packing.a_places), terms


@pytest.mark.parametrize(("w_bits", "a_bits"), WIDTHS)
def test_rows_are_those_of_the_row_solver(w_bits, a_bits):
    weight = np.random.default_rng(w_bits * 9 + a_bits).integers(
        -(1 << (w_bits - 1)), 1 << (w_bits - 1), (2, 3, 3, 2)
    )
    rows = packings(Family.ROW, as_terms(weight, Family.ROW), a_bits, (SMLAL,))
    found = {(len(p.a_places), p.a_places[1], len(p.w_words), p.toggle) for p in rows}
    known = {
        (p.pixels, p.field_bits, p.words, p.toggle)
        for p in row_packings(weight, w_bits, a_bits)
        if len(p.segments) == 1
    }
    assert found == known


@pytest.mark.parametrize(("w_bits", "a_bits"), WIDTHS)
def test_products_of_halves_are_those_of_the_halves_solver(w_bits, a_bits):
    """Channels of equal sum|w|: the solver of halves holds all to the narrowest field."""
    rng = np.random.default_rng(w_bits * 9 + a_bits)
    weight = weights_of(rng, Family.OUTER, w_bits, 10)
    weight = rng.permuted(np.repeat(weight, 4, axis=0), axis=1)
    outer = packings(Family.OUTER, weight, a_bits, (SMLAD,), most=2)
    found = {
        (len(p.a_places), channels_of(p), p.a_places[-1], p.w_words[0][-1], p.toggle) for p in outer
    }
    known = {
        (p.pixels, p.channels, p.a_shift, p.w_shift, p.toggle)
        for p in halves_packings(weight, w_bits, a_bits)
        if len(p.pairs) == 1 and not p.bytes
    }
    assert found == known


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("instruction", [SMLAL, SMLAD, SMLALD, SMLABB], ids=lambda i: i.name)
@pytest.mark.parametrize(
    "weights",
    [(-2, 1), pytest.param((-2, -1, 0, 1), marks=pytest.mark.nightly)],
    ids=("ends", "all"),
)
def test_exhaustive_at_two_bits(family, instruction, weights):
    """All activations of one term, against the ends of weights or all; of each shape the narrowest
    packing."""
    for values in itertools.product(weights, repeat=3 if family is Family.ROW else 2):
        shape = {Family.ROW: (1, 3, 1), Family.OUTER: (2, 1), Family.DOT: (1, 2)}[family]
        weight = np.array(values).reshape(shape)
        shapes = {}
        for packing in packings(family, weight, 2, (instruction,), most=2):
            if family is Family.ROW or len(packing.w_words[0]) == 2:
                shapes.setdefault((len(packing.a_places), len(packing.w_words)), packing)
        for packing in shapes.values():
            size = operands(packing, weight.shape[-1])
            for pixels in itertools.product(range(4), repeat=int(np.prod(size))):
                check(packing, weight, 2, np.array(pixels).reshape(size))


@pytest.mark.parametrize(
    ("family", "w_bits", "a_bits"),
    [
        pytest.param(family, *widths, marks=[pytest.mark.nightly] if sum(widths) % 2 else [])
        for family in Family
        for widths in WIDTHS
    ],
)
def test_exact_and_tight_at_corners(family, w_bits, a_bits):
    """Extreme and random operands; then as many terms as no field holds any more: extremes fail."""
    rng = np.random.default_rng(w_bits * 9 + a_bits)
    amax = (1 << a_bits) - 1
    weight = weights_of(rng, family, w_bits, 2, channels=2)
    chosen = {}
    for packing in packings(
        family, weight[: 1 if family is not Family.OUTER else 2], a_bits, most=2
    ):
        chosen.setdefault(
            (packing.instruction, len(packing.a_places), channels_of(packing)), packing
        )
    for packing in chosen.values():
        own = weight[: channels_of(packing)]
        size = operands(packing, own.shape[-1])
        for pixels in (
            np.full(size, amax),
            rng.choice([0, amax], size),
            rng.integers(0, amax, size),
        ):
            check(packing, own, a_bits, pixels)
        many = np.repeat(np.abs(own) + 1, 1 << 9, axis=-1)[..., : 1 << 9]
        wrong = violations(packing, many, a_bits)
        if wrong & {Violation.FIELD} and not wrong & {Violation.WEIGHTS}:
            size = operands(packing, many.shape[-1])
            if packing.family is not Family.ROW:  # a row's fields overflow only once chained
                found, true = packed_and_true(packing, many, a_bits, np.full(size, amax))
                assert found != true


def test_one_more_than_a_field_holds_is_wrong():
    """sum|w| * amax at the largest value of a field, and one weight beyond."""
    packing = Packing(Family.OUTER, SMLAD, (0, 9), ((0,),), (0, 1), False)
    fits, beyond = np.array([[1] * 73]), np.array([[1] * 74])  # 73 * 7 = 511
    assert not violations(packing, fits, 3)
    check(packing, fits, 3, np.full((1, 2, 73), 7))
    assert violations(packing, beyond, 3) == {Violation.FIELD}
    found, true = packed_and_true(packing, beyond, 3, np.full((1, 2, 74), 7))
    assert found != true


@pytest.mark.parametrize(
    ("changed", "violation"),
    [
        ({"a_places": (0, 30)}, Violation.ACTIVATIONS),
        ({"a_places": (0, 3)}, Violation.ACTIVATIONS),
        ({"w_words": ((0, 29),)}, Violation.WEIGHTS),
        ({"w_words": ((0, 33),)}, Violation.WEIGHTS),
        ({"toggle": True}, Violation.ACTIVATIONS),
    ],
)
def test_each_condition_speaks(changed, violation):
    packing = Packing(Family.OUTER, SMLAL, (0, 10), ((0, 20),), (0, 1, 2, 3), False)
    weight = np.full((2, 2), -8)
    assert not violations(packing, weight, 4)
    assert violation in violations(replace(packing, **changed), weight, 4)


@pytest.mark.parametrize("identity", [F23, F43], ids=lambda identity: identity.name)
def test_vertical_identities_hold_for_packed_words(identity):
    """denominator * out modulo 2**64, by signed operands, though fields in between overflow."""
    rng = np.random.default_rng(3)
    rows, tried = len(identity.rows[0]), 0
    for w_bits, a_bits in ((2, 2), (4, 4), (3, 3), (2, 8)):
        weight = rng.integers(-(1 << (w_bits - 1)), 1 << (w_bits - 1), (1, 3, 3, 4))
        for packing in packings(Family.ROW, as_terms(weight, Family.ROW), a_bits, (SMLAL,)):
            if len(packing.w_words) > 1 or vertical_violations(identity, packing, weight, a_bits):
                continue
            tried += 1
            pixels = rng.choice([0, (1 << a_bits) - 1], (rows, len(packing.a_places), 4))
            d = np.array(packing.a_places)[None, :, None]
            words = (pixels.astype(object) * 2 ** d.astype(object)).sum(axis=1)
            place = np.array(packing.w_words[0]).astype(object)
            filters = (weight[0, :, ::-1].astype(object) * (2**place)[None, :, None]).sum(axis=1)
            a = np.array(identity.rows, object) @ words
            w = np.array(identity.weights, object) @ filters
            for operand in (*a.ravel(), *w.ravel()):
                assert -(1 << 31) <= operand < 1 << 31
            sums = np.array(identity.outputs, object) @ (a * w).sum(axis=1)
            for out in range(len(identity.outputs)):
                direct = (words[out : out + 3] * filters).sum()
                assert sums[out] == identity.denominator * direct
    assert tried


def test_limits_of_known_tiles():
    """Loops of 36 m products in 25 cycles, F(2, 3) of half as many in 9 for each of two rows."""
    rng = np.random.default_rng(0)
    found = best(limits(Family.ROW, rng.integers(-8, 8, (2, 3, 3, 4)), 4, most=4))
    direct, identity = found["SMLAL row"], found["SMLAL row, F(2, 3)"]
    assert direct.loop_macs_per_cycle == pytest.approx(36 * 3 / 25)
    assert identity.loop_macs_per_cycle == pytest.approx(6)
    assert identity.macs_per_cycle > direct.macs_per_cycle
    halves = best(limits(Family.OUTER, rng.integers(-8, 8, (4, 16)), 4, most=2))["SMLAD outer"]
    assert halves.loop_macs_per_cycle == 2
