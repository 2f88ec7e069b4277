"""Weights as the kernels read them out of flash."""

from __future__ import annotations

import numpy as np

from mcuq_lab.baselines.cmsis_nn.tflite import Int8Layer


def stored_weights(layer: Int8Layer) -> np.ndarray:
    """A layer's weights as flat int8: one in a byte, or two of 4 bits.

    Of two in a byte the earlier one is in the low nibble. Rows follow each other without a gap; the
    last nibble of an odd number is 0.
    """
    flat = layer.weight.ravel()
    if layer.weight_bits == 8:
        return flat
    nibbles = np.append(flat, np.zeros(flat.size % 2, np.int8)).view(np.uint8) & 0xF
    return (nibbles[0::2] | nibbles[1::2] << 4).view(np.int8)
