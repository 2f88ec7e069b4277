"""What one tile of a packed row takes on the Cortex-M4: products, and what becomes of the sums."""

from __future__ import annotations

from mcuq_lab.liteengine.packing.row import WORD_BITS, RowPacking


def extraction_instructions(packing: RowPacking) -> int:
    """Instructions that take all finished fields out of one accumulator, or pair of them."""
    if packing.lanes == 2:
        return packing.pixels + 1
    ends = [(j * packing.field_bits, (j + 1) * packing.field_bits) for j in range(packing.pixels)]
    return sum(2 if low < WORD_BITS < high else 1 for low, high in ends)


def _plane_cycles(packing: RowPacking) -> int:
    """Cortex-M4 cycles of the loads and products of one plane and weight word in a tile."""
    return 46 if packing.lanes == 2 else 25 if packing.phases == 1 else 26


def loop_cycles(packing: RowPacking) -> float:
    """Cortex-M4 cycles of one tile's loads and products alone, in all its segments."""
    planes = sum(segment.count for segment in packing.segments) / packing.lanes
    return packing.words * _plane_cycles(packing) * planes


def tile_cycles(
    packing: RowPacking, channels: int, unroll: int, storage: int = 8, pre_shift: bool = False
) -> float:
    """Cortex-M4 cycles of one tile, 2 rows x 2 channels x one block, in all its segments."""
    return product_cycles(packing, channels, unroll) + epilogue_cycles(packing, storage, pre_shift)


def product_cycles(packing: RowPacking, channels: int, unroll: int) -> float:
    """The products of one tile.

    Three multiply groups with 10 loads take 25 cycles for each input channel and weight word, with
    11 loads for each of two phases 26, and with 16 loads and twice as many products 46 for each
    phase of two channels in lanes; the loop costs 6 cycles a round of `unroll` channels.
    """
    cycles = 0
    for segment in packing.segments:
        # with 2+1 taps all segments are as long as the first one
        summed = segment if packing.words == 1 else packing.segments[0]
        rounds = -(-min(summed.count, channels) // (unroll * packing.lanes))
        cycles += packing.words * rounds * (_plane_cycles(packing) * unroll + 6)
    return cycles


def epilogue_cycles(packing: RowPacking, storage: int = 8, pre_shift: bool = False) -> float:
    """What becomes of one tile's sums, in all its segments.

    A shift in front of the requantization comes with the extraction where a register is left for
    a mask; toggling costs a carry for each accumulator. Outputs that share a byte with another
    pair's (`storage` 2) are merged with it, half of them.
    """
    m, extraction = packing.pixels, 4 * extraction_instructions(packing)
    before = len(packing.segments) - 1
    masked = packing.lanes == 1 and (before == 0 or m <= 3)
    outputs = 14 + 4 * (pre_shift and not masked) + 3 * (storage == 2)
    cycles = extraction + outputs * m + 37 + 5 * (pre_shift and masked)
    cycles += 6 * (before > 0 and storage == 2)
    if masked and before == 0 and m * packing.field_bits == WORD_BITS:
        cycles -= 5 + 2 * (storage == 2)  # what is carried is set aside as it is
    cycles += before * (46 + extraction + 4 * m + 14) + (14 if before else 0)
    cycles += 6 * (packing.lanes == 1 and m * packing.field_bits < WORD_BITS)  # carry of two words
    return cycles + 8 * packing.toggle * len(packing.segments)


def nested_cycles(
    packing: RowPacking, unroll: int, storage: int = 8, pre_shift: bool = False
) -> float:
    """One tile of channels in lanes that runs all its segments, one after the other.

    Each segment costs 22 cycles to begin and to leave its sums, 7 more where it has several rounds.
    Four times four sums are then made of two words of each segment: 8 instructions and the loads.
    """
    segments = len(packing.segments)
    rounds = sum(-(-segment.count // (packing.lanes * unroll)) for segment in packing.segments)
    one_round = rounds == segments
    products = rounds * (_plane_cycles(packing) * unroll + (2 if one_round else 6))
    sums = 4 * (24 + 10.5 * (segments - 1) + (10 if pre_shift else 8))
    outputs = 2 * (15 + 12 * (storage == 2))
    return products + segments * (22 if one_round else 28) + sums + outputs + 10
