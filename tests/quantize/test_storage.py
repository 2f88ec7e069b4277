"""The layout of sub-byte tensors in memory."""

import numpy as np
import pytest

from mcuq_lab.errors import NumericsError
from mcuq_lab.graph import Shape
from mcuq_lab.quantgraph import QTensor
from mcuq_lab.storage import pack_batch, pack_tensor, unpack_batch, unpack_tensor


def tensor(bits: int, c: int = 3, h: int = 2, w: int = 2) -> QTensor:
    return QTensor("t", Shape(h, w, c), bits, 0.1, 0)


def test_two_bit_channels_fill_a_byte_from_its_low_end():
    values = np.array([[[1, 2, 3]]], np.uint8)
    assert pack_tensor(values, tensor(2, h=1, w=1)) == bytes([0b00_11_10_01])


def test_four_bit_pixels_start_on_a_byte():
    values = np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)
    assert pack_tensor(values, tensor(4, h=1)) == bytes([0x21, 0x03, 0x54, 0x06])


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("channels", [1, 3, 4, 5, 16])
def test_what_is_packed_comes_back(bits, channels):
    t = tensor(bits, channels, 3, 4)
    values = np.random.default_rng(bits).integers(0, t.qmax + 1, (5, 3, 4, channels))
    stored = pack_batch(values, t)
    assert stored.shape == (5, t.size_bytes)
    np.testing.assert_array_equal(unpack_batch(stored, t), values)
    np.testing.assert_array_equal(unpack_tensor(pack_tensor(values[2], t), t), values[2])


def test_unused_bits_are_ignored_when_read():
    assert unpack_tensor(bytes([0xF9]), tensor(2, c=2, h=1, w=1)).tolist() == [[[1, 2]]]


def test_a_value_beyond_the_width_is_refused():
    with pytest.raises(NumericsError, match="3-bit values"):
        pack_tensor(np.full((2, 2, 3), 8), tensor(3))


def test_another_shape_is_refused():
    with pytest.raises(NumericsError, match="2x2x3"):
        pack_tensor(np.zeros((2, 3, 3), np.uint8), tensor(3))
    with pytest.raises(NumericsError, match="4 bytes"):
        unpack_tensor(bytes(5), tensor(2))
