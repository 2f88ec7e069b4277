/* Elementwise sum of two tensors of any widths, requantized: SMLAD and USAT.
 *
 *     y = saturate((ua * multiplier_a + ub * multiplier_b + offset) >> shift, 0, 2^bits - 1)
 *
 * The output may be written over an operand whose fields are not narrower than its own.
 */
#ifndef LE_ADD_GENERIC_H
#define LE_ADD_GENERIC_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"

typedef struct {
    uint32_t runs;        /* pixels; or 1, where the elements of a tensor lie without gaps */
    uint32_t run_length;  /* elements of a run                                             */
    uint32_t multipliers; /* of a in the lower half, of b in the upper one                 */
    int32_t offset;
} le_add_layer;

_Static_assert(sizeof(le_add_layer) == 16, "as counted for flash");

/* Sums of four elements of operands of any two widths. */
LE_INLINE void le_add_quad(const uint8_t *a, const uint8_t *b, uint8_t *out, uint32_t multipliers,
                           int32_t offset, unsigned a_storage, unsigned b_storage,
                           unsigned out_bits, unsigned shift) {
    uint32_t quad_a = le_load_quad(a, a_storage);
    uint32_t quad_b = le_load_quad(b, b_storage);
    uint32_t even_a = le_even(quad_a, a_storage), odd_a = le_odd(quad_a, a_storage);
    uint32_t even_b = le_even(quad_b, b_storage), odd_b = le_odd(quad_b, b_storage);
    int32_t sum0 = le_smlad(le_pkhbt(even_a, even_b, 16), multipliers, offset);
    int32_t sum1 = le_smlad(le_pkhbt(odd_a, odd_b, 16), multipliers, offset);
    int32_t sum2 = le_smlad(le_pkhtb(even_b, even_a, 16), multipliers, offset);
    int32_t sum3 = le_smlad(le_pkhtb(odd_b, odd_a, 16), multipliers, offset);
    le_store_quad(out, le_storage_bits(out_bits), le_usat_asr(sum0, out_bits, shift),
                  le_usat_asr(sum1, out_bits, shift), le_usat_asr(sum2, out_bits, shift),
                  le_usat_asr(sum3, out_bits, shift));
}

/* One word of each operand. Half a word of a and half a word of b side by side are a word in which
 * one mask finds a[i] and b[i] as halves. */
typedef struct {
    uint32_t halves[2];
    uint32_t multipliers;
    int32_t offset;
    uint32_t mask;
} le_add_operands;

/* The sum of the elements whose fields begin at `bit`. */
LE_INLINE uint32_t le_add_element(const le_add_operands *x, unsigned bit, unsigned out_bits,
                                  unsigned shift) {
    uint32_t pair = (x->halves[bit / 16] >> (bit % 16)) & x->mask;
    return le_usat_asr(le_smlad(pair, x->multipliers, x->offset), out_bits, shift);
}

/* Sums of elements 4 * quad and up. */
LE_INLINE void le_add_four(const le_add_operands *x, uint8_t *out, unsigned quad,
                           unsigned storage, unsigned out_bits, unsigned shift) {
    const unsigned out_storage = le_storage_bits(out_bits);
    const unsigned bit = 4 * quad * storage;
    le_store_quad(out + quad * out_storage / 2, out_storage,
                  le_add_element(x, bit, out_bits, shift),
                  le_add_element(x, bit + storage, out_bits, shift),
                  le_add_element(x, bit + 2 * storage, out_bits, shift),
                  le_add_element(x, bit + 3 * storage, out_bits, shift));
}

/* Sums of the 32 / storage elements of a word. */
LE_INLINE void le_add_word(const uint8_t *a, const uint8_t *b, uint8_t *out, uint32_t multipliers,
                           int32_t offset, uint32_t mask, unsigned storage, unsigned out_bits,
                           unsigned shift) {
    uint32_t word_a = le_load32(a), word_b = le_load32(b);
    const le_add_operands x = {
        {le_pkhbt(word_a, word_b, 16), le_pkhtb(word_b, word_a, 16)}, multipliers, offset, mask};
    le_add_four(&x, out, 0, storage, out_bits, shift);
    if (storage <= 4) {
        le_add_four(&x, out, 1, storage, out_bits, shift);
    }
    if (storage == 2) {
        le_add_four(&x, out, 2, storage, out_bits, shift);
        le_add_four(&x, out, 3, storage, out_bits, shift);
    }
}

LE_INLINE void le_add_generic(const le_add_layer *layer, const uint8_t *a, const uint8_t *b,
                              uint8_t *out, unsigned a_storage, unsigned b_storage,
                              unsigned out_bits, unsigned shift) {
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t multipliers = layer->multipliers;
    const int32_t offset = layer->offset;
    const uint32_t rest = layer->run_length % 4;
    uint32_t mask = ((1u << a_storage) - 1u) * 0x00010001u;
    LE_IN_REGISTER(mask);
    for (uint32_t run = 0; run < layer->runs; ++run) {
        uint32_t quads = layer->run_length / 4;
        if (a_storage == b_storage) {
            for (uint32_t words = quads / (8 / a_storage); words > 0; --words) {
                le_add_word(a, b, out, multipliers, offset, mask, a_storage, out_bits, shift);
                a += 4;
                b += 4;
                out += 4 * out_storage / a_storage;
            }
            quads %= 8 / a_storage;
        }
        for (; quads > 0; --quads) {
            le_add_quad(a, b, out, multipliers, offset, a_storage, b_storage, out_bits, shift);
            a += a_storage / 2;
            b += b_storage / 2;
            out += out_storage / 2;
        }
        if (rest > 0) { /* written at once: reading ends before writing begins */
            uint32_t fields = 0;
            for (uint32_t i = 0; i < rest; ++i) {
                uint32_t pair =
                    le_get_field(a, i, a_storage) | (le_get_field(b, i, b_storage) << 16);
                int32_t sum = le_smlad(pair, multipliers, offset);
                fields |= le_usat_asr(sum, out_bits, shift) << i * out_storage;
            }
            le_store_fields(out, out_storage, fields, rest);
            a += le_pixel_bytes(rest, a_storage);
            b += le_pixel_bytes(rest, b_storage);
            out += le_pixel_bytes(rest, out_storage);
        }
    }
}

#endif
