"""Dense weights: what is packed can be read back by the layouts' own description."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.liteengine.dense import pack_lanes, pack_stream, stream_bytes


def bits_of(data: np.ndarray) -> int:
    return int.from_bytes(data.tobytes(), "little")


def signed(field: int, bits: int) -> int:
    return field - (1 << bits) if field >> (bits - 1) else field


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("count", [1, 7, 8, 27])
def test_stream_holds_field_i_at_bit_i_times_width(bits, count):
    rng = np.random.default_rng(count)
    values = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (3, count))
    packed = pack_stream(values, bits)
    assert packed.shape == (3, stream_bytes(count, bits)) == (3, -(-count * bits // 8))
    for row, stream in zip(values, packed, strict=True):
        word = bits_of(stream)
        mask = (1 << bits) - 1
        assert [signed(word >> i * bits & mask, bits) for i in range(count)] == row.tolist()
        assert word >> count * bits == 0


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("count", [32, 64, 75, 5])
def test_lanes_hold_pairs_of_weights_apart_by_sixteen(bits, count):
    rng = np.random.default_rng(bits)
    values = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (2, count))
    packed = pack_lanes(values, bits)
    groups, rest = divmod(count, 32)
    assert packed.shape == (2, 4 * bits * groups + stream_bytes(rest, bits))
    mask, half = (1 << bits) - 1, 1 << (bits - 1)
    for row, data in zip(values, packed, strict=True):
        for group in range(groups):
            words = data[4 * bits * group : 4 * bits * (group + 1)].view(np.uint32)
            lower = sum(int(word & 0xFFFF) << 16 * i for i, word in enumerate(words))
            upper = sum(int(word >> 16) << 16 * i for i, word in enumerate(words))
            first = [(lower >> k * bits & mask) - half for k in range(16)]
            second = [(upper >> k * bits & mask) - half for k in range(16)]
            assert first + second == row[32 * group : 32 * (group + 1)].tolist()
        tail = bits_of(data[4 * bits * groups :])
        expected = row[32 * groups :].tolist()
        assert [signed(tail >> i * bits & mask, bits) for i in range(rest)] == expected
