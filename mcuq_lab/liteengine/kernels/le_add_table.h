/* Elementwise sum of two tensors with 2-bit fields, requantized, two elements at a time.
 *
 * Two elements of either operand are eight bits: the number of an entry, a byte, in a table of their
 * sums. Masks put four such numbers into a word; the table is computed before, as le_add_generic.h
 * computes each sum.
 *
 * The output may be written over an operand whose fields are not narrower than its own.
 */
#ifndef LE_ADD_TABLE_H
#define LE_ADD_TABLE_H

#include "le_add_generic.h"

/* Entry a0 + 4 * a1 + 16 * b0 + 64 * b1 of the table holds the sums of a0, b0 and of a1, b1. Words
 * of it have all values of a0; so has `sums`, for each b0. */
LE_INLINE void le_add_table_fill(const le_add_layer *layer, uint32_t *table, unsigned out_bits,
                                 unsigned shift) {
    uint32_t sums[4];
    for (uint32_t b = 0; b < 4; ++b) {
        sums[b] = 0;
        for (uint32_t a = 0; a < 4; ++a) {
            int32_t sum = le_smlad(a | (b << 16), layer->multipliers, layer->offset);
            sums[b] |= le_usat_asr(sum, out_bits, shift) << (8 * a);
            LE_KEEP_LOOP(a);
        }
    }
    for (uint32_t b1 = 0; b1 < 4; ++b1) {
        for (uint32_t b0 = 0; b0 < 4; ++b0) {
            for (uint32_t a1 = 0; a1 < 4; ++a1) {
                uint32_t upper = ((sums[b1] >> (8 * a1)) & 0xFFu) * 0x01010101u;
                *table++ = sums[b0] | (upper << le_storage_bits(out_bits));
                LE_KEEP_LOOP(a1);
            }
        }
    }
}

/* The entries whose numbers are the bytes of a word, each in its byte. */
LE_INLINE uint32_t le_add_table_four(const uint8_t *table, uint32_t numbers) {
    const uint32_t entry0 = table[numbers & 0xFFu];
    const uint32_t entry1 = table[(numbers >> 8) & 0xFFu];
    const uint32_t entry2 = table[(numbers >> 16) & 0xFFu];
    const uint32_t entry3 = table[numbers >> 24];
    return entry0 | (entry1 << 8) | (entry2 << 16) | (entry3 << 24);
}

/* A run without gaps, whose elements fill whole words. */
LE_INLINE void le_add_table(const le_add_layer *layer, const uint8_t *a, const uint8_t *b,
                            uint8_t *out, uint8_t *scratch, unsigned out_bits, unsigned shift) {
    uint32_t mask = 0x0F0F0F0Fu;
    LE_IN_REGISTER(mask);
    le_add_table_fill(layer, (uint32_t *)(void *)scratch, out_bits, shift);
    for (uint32_t words = layer->run_length / 16; words > 0; --words) {
        const uint32_t word_a = le_load32(a), word_b = le_load32(b);
        /* elements 0 and 1, and 2 and 3, of each byte */
        const uint32_t low = le_add_table_four(scratch, (word_a & mask) | ((word_b & mask) << 4));
        const uint32_t high =
            le_add_table_four(scratch, ((word_a >> 4) & mask) | (word_b & ~mask));
        if (le_storage_bits(out_bits) == 2) {
            le_store32(out, low | (high << 4));
            out += 4;
        } else { /* an entry is a byte of its own */
            const uint32_t even_low = low & 0x00FF00FFu, odd_low = (low >> 8) & 0x00FF00FFu;
            const uint32_t even_high = high & 0x00FF00FFu, odd_high = (high >> 8) & 0x00FF00FFu;
            const uint32_t even = even_low | (even_high << 8), odd = odd_low | (odd_high << 8);
            le_store32(out, le_pkhbt(even, odd, 16));
            le_store32(out + 4, le_pkhtb(odd, even, 16));
            out += 8;
        }
        a += 4;
        b += 4;
    }
}

#endif
