"""Packed arithmetic of any `Packing` in Python integers: what the instructions would compute."""

from __future__ import annotations

import numpy as np

from mcuq_lab.liteengine.packing.polynomial import Packing, in_words


def packed_and_true(
    packing: Packing, weight: np.ndarray, a_bits: int, activations: np.ndarray
) -> tuple[list[int], list[int]]:
    """Kept fields of one group's accumulator less their starts, and the true sums.

    `weight` holds a single group: one row or dot product, or as many channels as a word has.
    `activations` are (words, activations of one, terms). Operands are cut to their width and read
    as signed, the accumulator wraps.
    """
    instruction, amax = packing.instruction, (1 << a_bits) - 1
    size, width = instruction.accumulator_bits, instruction.operand_bits
    starts = [0] * len(packing.fields)
    true = [0] * len(packing.fields)
    index = {field.low: i for i, field in enumerate(packing.fields)}
    accumulator = 0
    for word, (places, part) in enumerate(
        zip(packing.w_words, in_words(packing, weight), strict=True)
    ):
        for term in range(part.shape[-1]):
            weights = [int(w) for w in part[0, :, term]]
            pixels = [int(a) for a in activations[word, :, term]]
            a = sum(v << p for v, p in zip(pixels, packing.a_places, strict=True))
            w = sum(v * (1 << p) for v, p in zip(weights, places, strict=True))
            if packing.toggle:
                a ^= 1 << (width - 1)
                accumulator += w << (width - 1)
            accumulator += _signed(a, width) * _signed(w, width)
            for i, a_place in enumerate(packing.a_places):
                for k, w_place in enumerate(places):
                    field = index[a_place + w_place]
                    true[field] += pixels[i] * weights[k]
                    starts[field] += amax * max(-weights[k], 0)
    accumulator += sum(start << f.low for start, f in zip(starts, packing.fields, strict=True))
    accumulator %= 1 << size
    found = [
        ((accumulator >> f.low) & ((1 << f.bits) - 1)) - starts[i]
        for i, f in enumerate(packing.kept)
    ]
    return found, true[: len(found)]


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
