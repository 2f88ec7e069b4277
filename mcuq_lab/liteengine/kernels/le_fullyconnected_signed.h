/* Few outputs, one or two at a time: whatever their width, weights lie in flash as bytes, which
 * SXTB16 makes signed halves, so that no sum of activations is needed. What lies behind the last
 * activation meets zeros.
 */
#ifndef LE_FULLYCONNECTED_SIGNED_H
#define LE_FULLYCONNECTED_SIGNED_H

#include "le_fields.h"
#include "le_fullyconnected.h"

/* Adds the products of eight inputs: of the word at `in`, pairs `first` and up; of bytes, the four
 * pairs of two words. Loads stand side by side: they take a cycle each then. */
LE_INLINE void le_fullyconnected_signed_add(int32_t *sums, const uint8_t *in, const uint8_t *w,
                                            unsigned first, unsigned storage, unsigned channels,
                                            uint32_t mask) {
    uint32_t low = le_load32(in), high = storage == 8 ? le_load32(in + 4) : 0;
    uint32_t w0 = le_load32(w), w1 = le_load32(w + 4 * channels), w2 = 0, w3 = 0;
    if (channels == 2) {
        w2 = le_load32(w + 4);
        w3 = le_load32(w + 12);
        LE_NOT_BEFORE_2(w2, w3);
    }
    LE_NOT_BEFORE_4(low, high, w0, w1);
#pragma GCC unroll 4
    for (unsigned j = 0; j < 4; ++j) {
        const uint32_t halves = storage == 8
                                    ? le_field_pair(j < 2 ? low : high, j % 2, storage, mask)
                                    : le_field_pair(low, first + j, storage, mask);
        sums[0] = le_smlad(halves, le_sxtb16(j < 2 ? w0 : w1, j % 2 * 8), sums[0]);
        if (channels == 2) {
            sums[1] = le_smlad(halves, le_sxtb16(j < 2 ? w2 : w3, j % 2 * 8), sums[1]);
        }
    }
}

/* Adds the products of all inputs to the sums of `channels` outputs (1 or 2); returns the weights
 * behind. Weights are [two pairs of a word of inputs][channel][4 bytes]. */
LE_INLINE const uint8_t *le_fullyconnected_signed_sums(int32_t *sums, const uint8_t *in,
                                                       const uint8_t *w, uint32_t bytes,
                                                       unsigned storage, unsigned channels) {
    const uint8_t *end = w + bytes * channels;
    uint32_t mask = le_field_mask(storage);
    LE_IN_REGISTER(mask);
    while (w != end) {
        le_fullyconnected_signed_add(sums, in, w, 0, storage, channels, mask);
        w += 8 * channels;
        if (storage == 2) {
            le_fullyconnected_signed_add(sums, in, w, 4, storage, channels, mask);
            w += 8 * channels;
        }
        in += storage == 8 ? 8 : 4;
    }
    return w;
}

/* The layer. `pairs` is whether there are two outputs or more, `single` whether their number is
 * odd. */
LE_INLINE void le_fullyconnected_signed(const le_fullyconnected_layer *layer, const uint8_t *in,
                                        uint8_t *out, unsigned in_storage, unsigned pairs,
                                        unsigned single, unsigned pre_shift, unsigned shift,
                                        unsigned out_bits) {
    const uint32_t bytes = layer->tile_bytes, even = layer->out_c & ~1u;
    const uint8_t *w = layer->weights;
    const le_requantize *constants = layer->channels;
    uint32_t channel = 0;
    if (pairs) {
        do {
            int32_t sums[2] = {constants[0].start, constants[1].start};
            w = le_fullyconnected_signed_sums(sums, in, w, bytes, in_storage, 2);
            le_fullyconnected_put(out, layer, constants, channel, (uint32_t)sums[0],
                                  (uint32_t)sums[1], pre_shift, shift, out_bits);
            constants += 2;
            channel += 2;
        } while (channel != even);
    }
    if (single) {
        int32_t sum = constants->start;
        le_fullyconnected_signed_sums(&sum, in, w, bytes, in_storage, 1);
        le_append_field(out, channel, le_storage_bits(out_bits),
                        le_requantize_const(sum, constants->multiplier, constants->offset,
                                            pre_shift, shift, out_bits));
    }
}

#endif
