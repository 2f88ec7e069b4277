"""Channels in halves: what the solver allows is exact for all activations, what it rejects not."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mcuq_lab.liteengine.packing.channel_pairs import (
    ChannelPairs,
    chain_field_bits,
    chain_fits,
    channel_pairs,
    packed_chain,
    packed_pairs,
    segment_length,
)


def signed(value: int, bits: int) -> int:
    return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))


def unpacked(weight: np.ndarray, activations, packing: ChannelPairs) -> tuple[int, int]:
    """Sums of two channels as the kernels find them, in wrapping arithmetic."""
    words = packed_pairs(weight, packing.field_bits)[0]
    assert np.abs(words + 0.5).max() < 1 << 15
    total, low = 0, 0
    for first in range(0, len(words), packing.segment_inputs):
        for place in range(first, min(first + packing.segment_inputs, len(words))):
            total = signed(total + int(words[place]) * int(activations[place]), 32)
        low += signed(total - low, packing.field_bits)
    return low, signed(total - low, 32) >> packing.field_bits


def all_right(weight: np.ndarray, amax: int, packing: ChannelPairs) -> bool:
    inputs = weight.shape[1]
    return all(
        unpacked(weight, activations, packing) == tuple(weight @ np.array(activations))
        for activations in product(range(amax + 1), repeat=inputs)
    )


@pytest.mark.parametrize(("w_bits", "amax"), [(2, 3), (3, 3), (4, 3), (6, 3), (7, 1)])
def test_all_activations_of_short_rows(w_bits, amax):
    rng = np.random.default_rng(w_bits)
    half = 1 << (w_bits - 1)
    for _ in range(12):
        weight = rng.integers(-half, half, (2, 4))
        packing = channel_pairs(weight, w_bits, amax, 1, 4)
        assert packing is not None
        assert all_right(weight, amax, packing)


@pytest.mark.parametrize("field_bits", [3, 4, 5])
def test_segments_are_as_long_as_they_may_be(field_bits):
    """One input more than the condition allows, and some activations yield something wrong."""
    rng = np.random.default_rng(field_bits)
    exact = 0
    for _ in range(40):
        weight = rng.integers(-2, 2, (2, 4))
        inputs = segment_length(weight[:1], field_bits, 3, 1, 4)
        for length in range(1, 5):
            packing = ChannelPairs(field_bits, length)
            right = all_right(weight, 3, packing)
            pieces = [weight[0, first : first + length] for first in range(0, 4, length)]
            fits = all(
                -(1 << (field_bits - 1)) <= 3 * piece[piece < 0].sum()
                and 3 * piece[piece > 0].sum() < 1 << (field_bits - 1)
                for piece in pieces
            )
            assert right == fits
            exact += fits
            assert not fits or -(-4 // inputs) <= -(-4 // length)
    assert exact > 10


@pytest.mark.parametrize(("w_bits", "a_bits"), list(product(range(2, 8), range(2, 9))))
def test_extreme_activations_of_long_rows(w_bits, a_bits):
    rng = np.random.default_rng(8 * w_bits + a_bits)
    half, amax = 1 << (w_bits - 1), (1 << a_bits) - 1
    weight = rng.integers(-half, half, (2, 96))
    packing = channel_pairs(weight, w_bits, amax, 8, 96)
    if packing is None:
        assert w_bits + a_bits > 8
        return
    for activations in (
        np.full(96, amax),
        np.where(weight[0] > 0, amax, 0),
        np.where(weight[0] < 0, amax, 0),
        np.where(weight[1] < 0, amax, 0),
        rng.integers(0, amax + 1, 96),
    ):
        assert unpacked(weight, activations, packing) == tuple(weight @ activations)


def test_upper_channels_beyond_their_field_are_refused():
    """Fields short enough for the upper channel's sum are too short for eight lower ones."""
    weight = np.ones((2, 1 << 13), np.int64)
    weight[1] = -2
    assert channel_pairs(weight, 2, 3, 1 << 10, 1 << 13) is not None
    assert channel_pairs(weight, 2, 255, 8, 1 << 13) is None


def test_long_rows_of_few_weights_keep_to_the_longest_segment():
    weight = np.zeros((2, 4000), np.int64)
    assert channel_pairs(weight, 2, 255, 8, 400) == ChannelPairs(14, 4000)
    weight[0, ::100] = 1
    assert channel_pairs(weight, 2, 255, 8, 4000) == ChannelPairs(14, 2000)
    assert channel_pairs(weight, 2, 255, 8, 400) == ChannelPairs(14, 400)


def unchained(weight: np.ndarray, activations, bits: int) -> list[int]:
    """Sums of a chain's channels as the kernels find them, in wrapping arithmetic."""
    sums = [signed(int(half @ activations), 32) for half in packed_chain(weight, bits)]
    second = (sums[0] >> bits) + signed(sums[1] - (sums[0] >> bits), bits)
    channels = [signed(sums[0] - (second << bits), 32), second]
    for each in sums[1:]:
        channels.append(signed(each - channels[-1], 32) >> bits)
    return channels


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_chains_of_short_fields_fit_exactly_where_all_activations_are_right(bits):
    """Fields far shorter than halves allow; the first channel has twice the bits of a pair's."""
    rng = np.random.default_rng(bits)
    outcomes = set()
    for _ in range(60):
        weight = rng.integers(-(1 << bits), 1 << bits, (3, 3))
        right = all(
            unchained(weight, np.array(activations), bits) == list(weight @ activations)
            for activations in product(range(4), repeat=3)
        )
        assert right == chain_fits(weight[None], bits, 3)
        outcomes.add(right)
    assert True in outcomes
    assert bits == 3 or False in outcomes


@pytest.mark.parametrize(("w_bits", "a_bits"), list(product(range(2, 9), range(2, 9))))
@pytest.mark.parametrize("chains", [(3,), (4,), (3, 4)])
def test_extreme_activations_of_chains(chains, w_bits, a_bits):
    rng = np.random.default_rng(8 * w_bits + a_bits)
    half, amax = 1 << (w_bits - 1), (1 << a_bits) - 1
    weight = rng.integers(-half, half, (2 * sum(chains), 56))
    bits = chain_field_bits(weight, w_bits, amax, chains)
    if not bits:
        assert 2 * w_bits + a_bits > 17
        return
    first = 0
    for count in chains * 2:
        group = weight[first : first + count]
        first += count
        for sign in (group[0] > 0, group[0] < 0, group[1] > 0, group[1] < 0, group[2] < 0):
            for activations in (amax * sign, amax * ~sign, rng.integers(0, amax + 1, 56)):
                assert unchained(group, activations, bits) == list(group @ activations)


def test_chains_whose_sums_leave_their_words_are_refused():
    """Upper channels near the end of their 32 bits take shorter fields, as long as the first one
    allows those."""
    for channel in (1, 2):
        weight = np.zeros((3, 1 << 13), np.int64)
        for value, expected in ((-1, 10), (-2, 9)):
            weight[channel] = value
            assert chain_field_bits(weight, 2, 255, (3,)) == expected
        weight[0] = -2
        assert chain_field_bits(weight, 2, 255, (3,)) == 0
