"""Dense weights: what is packed can be read back by the layouts' own description."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mcuq_lab.liteengine.ctext import c_array
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
@pytest.mark.parametrize("groups", [1, 3])
def test_lanes_hold_two_streams_in_the_halves_of_words(bits, groups):
    rng = np.random.default_rng(bits)
    fields = rng.integers(0, 1 << bits, (2, groups, 16, 2))
    packed = pack_lanes(fields, bits)
    assert packed.shape == (2, 4 * bits * groups)
    mask = (1 << bits) - 1
    for row, data in zip(fields, packed, strict=True):
        for group in range(groups):
            words = data[4 * bits * group : 4 * bits * (group + 1)].view(np.uint32)
            lower = sum(int(word & 0xFFFF) << 16 * i for i, word in enumerate(words))
            upper = sum(int(word >> 16) << 16 * i for i, word in enumerate(words))
            read = [(lower >> k * bits & mask, upper >> k * bits & mask) for k in range(16)]
            assert read == [tuple(pair) for pair in row[group].tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_arrays_are_written_in_lines_as_full_as_they_go(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << 31), 1 << 31, rng.integers(1, 300)) >> rng.integers(0, 31)
    values[0] = -(1 << 31) if seed % 2 else values[0]
    text = c_array("int32_t", "name", values)
    lines = text.splitlines()[1:-1]
    items = [item.strip() for line in lines for item in line.rstrip(",").split(",")]
    assert [-(1 << 31) if item[0] == "(" else int(item) for item in items] == values.tolist()
    for line, later in itertools.pairwise(lines):
        assert len(line) < 98 < len(line) + len(f" {later.split(',')[0].strip()}, ") + 1
