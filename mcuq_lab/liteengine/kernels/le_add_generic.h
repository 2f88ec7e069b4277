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
    uint8_t shift;
} le_add_layer;

_Static_assert(sizeof(le_add_layer) == 20, "as counted for flash");

LE_INLINE void le_add_generic(const le_add_layer *layer, const uint8_t *a, const uint8_t *b,
                              uint8_t *out, unsigned a_storage, unsigned b_storage,
                              unsigned out_bits) {
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t length = layer->run_length;
    const uint32_t multipliers = layer->multipliers;
    const int32_t offset = layer->offset;
    const unsigned shift = layer->shift;
    for (uint32_t run = 0; run < layer->runs; ++run) {
        uint32_t i = 0;
        for (; i + 4 <= length; i += 4) {
            uint32_t quad_a = le_load_quad(a + i * a_storage / 8, a_storage);
            uint32_t quad_b = le_load_quad(b + i * b_storage / 8, b_storage);
            uint32_t even_a = le_even(quad_a, a_storage), odd_a = le_odd(quad_a, a_storage);
            uint32_t even_b = le_even(quad_b, b_storage), odd_b = le_odd(quad_b, b_storage);
            int32_t sum0 = le_smlad(le_pkhbt(even_a, even_b, 16), multipliers, offset);
            int32_t sum1 = le_smlad(le_pkhbt(odd_a, odd_b, 16), multipliers, offset);
            int32_t sum2 = le_smlad(le_pkhtb(even_b, even_a, 16), multipliers, offset);
            int32_t sum3 = le_smlad(le_pkhtb(odd_b, odd_a, 16), multipliers, offset);
            le_store_quad(out + i * out_storage / 8, out_storage,
                          le_usat(sum0, out_bits, shift), le_usat(sum1, out_bits, shift),
                          le_usat(sum2, out_bits, shift), le_usat(sum3, out_bits, shift));
        }
        if (i < length) { /* at most three, written at once: reading ends before writing begins */
            uint32_t fields = 0;
            for (uint32_t k = 0; k < length - i; ++k) {
                uint32_t pair = le_get_field(a, i + k, a_storage) |
                                (le_get_field(b, i + k, b_storage) << 16);
                int32_t sum = le_smlad(pair, multipliers, offset);
                fields |= le_usat(sum, out_bits, shift) << k * out_storage;
            }
            le_store_fields(out + i * out_storage / 8, out_storage, fields, length - i);
        }
        a += le_pixel_bytes(length, a_storage);
        b += le_pixel_bytes(length, b_storage);
        out += le_pixel_bytes(length, out_storage);
    }
}

#endif
