/* A single output: whatever their width, weights lie in flash as bytes, which SXTB16 makes signed
 * halves of: nothing is added to the sum that would have to be taken off. */
#ifndef LE_FULLYCONNECTED_SINGLE_H
#define LE_FULLYCONNECTED_SINGLE_H

#include "le_fullyconnected.h"

LE_INLINE void le_fullyconnected_single(const le_fullyconnected_layer *layer, const uint8_t *in,
                                        uint8_t *out, unsigned in_storage, unsigned pre_shift,
                                        unsigned shift, unsigned out_bits) {
    const uint8_t *w = layer->weights, *end = w + layer->tile_bytes;
    const le_requantize *constants = layer->channels;
    int32_t sum = constants->start;
    while (w != end) { /* eight inputs */
        uint32_t first = le_load_quad(in, in_storage);
        uint32_t second = le_load_quad(in + in_storage / 2, in_storage);
        uint32_t w0 = le_load32(w), w1 = le_load32(w + 4);
        LE_NOT_BEFORE_4(first, second, w0, w1);
        sum = le_smlad(le_even(first, in_storage), le_sxtb16(w0, 0), sum);
        sum = le_smlad(le_odd(first, in_storage), le_sxtb16(w0, 8), sum);
        sum = le_smlad(le_even(second, in_storage), le_sxtb16(w1, 0), sum);
        sum = le_smlad(le_odd(second, in_storage), le_sxtb16(w1, 8), sum);
        w += 8;
        in += in_storage;
    }
    le_append_field(out, 0, le_storage_bits(out_bits),
                    le_requantize_const(sum, constants->multiplier, constants->offset, pre_shift,
                                        shift, out_bits));
}

#endif
