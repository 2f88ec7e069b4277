/* Weights of any width in two lanes of 16 bits: one shift-and-mask gives the halves for SMLAD.
 *
 * A tile is `channels` (1, 2 or 4) output channels. A group is 16 fields a lane, [pair][channel],
 * in w_bits words: 16 / channels pairs of inputs for each channel of the tile. A word of
 * activations (of eight, if there are no more in a group) yields its pairs in the same way: fields
 * k and k + half of them.
 */
#ifndef LE_FULLYCONNECTED_LANES_H
#define LE_FULLYCONNECTED_LANES_H

#include "le_fullyconnected.h"

/* Halves `k` of the group at `words`. Called with ascending k; `word` is the one loaded last.
 * `mask` has w_bits ones in each half. */
LE_INLINE uint32_t le_lane_pair(const uint8_t *words, uint32_t *word, unsigned k, unsigned w_bits,
                                uint32_t mask) {
    unsigned lsb = k * w_bits % 16;
    const uint8_t *at = words + k * w_bits / 16 * 4;
    uint32_t current = lsb == 0 ? le_load32(at) : *word;
    LE_NOT_BEFORE(current);
    *word = current;
    if (lsb + w_bits <= 16) {
        return (current >> lsb) & mask;
    }
    uint32_t upper = ((1u << w_bits) - (1u << (16 - lsb))) * 0x00010001u;
    uint32_t lower = ((1u << (16 - lsb)) - 1u) * 0x00010001u;
    *word = le_load32(at + 4);
    return ((current >> lsb) & lower) | ((*word << (16 - lsb)) & upper);
}

LE_INLINE void le_fullyconnected_lanes(const le_fullyconnected_layer *layer, const uint8_t *in,
                                       uint8_t *out, unsigned w_bits, unsigned in_storage,
                                       unsigned channels, unsigned pre_shift, unsigned shift,
                                       unsigned out_bits) {
    const unsigned inputs = 32 / channels;            /* of a group           */
    const int short_word = inputs * in_storage == 16; /* a group has 16 bits  */
    const unsigned pairs = short_word ? 4 : 16 / in_storage; /* of a word of activations */
    const uint32_t surplus = le_fullyconnected_sum(in, layer->in_c, in_storage) << (w_bits - 1);
    const le_requantize *constants = layer->channels;
    const uint8_t *w = layer->weights;
    uint32_t mask = ((1u << w_bits) - 1u) * 0x00010001u;
    uint32_t field = ((1u << in_storage) - 1u) * 0x00010001u;
    LE_IN_REGISTER(mask);
    LE_IN_REGISTER(field);
    for (uint32_t channel = 0; channel < layer->out_c; channel += channels) {
        const uint8_t *from = in, *end = w + layer->tile_bytes;
        uint32_t sums[4];
#pragma GCC unroll 4
        for (unsigned c = 0; c < channels; ++c) {
            sums[c] = (uint32_t)constants[c].start - surplus;
        }
        while (w != end) {
            uint32_t word = 0, activations = 0, a = 0;
#pragma GCC unroll 16
            for (unsigned k = 0; k < 16; ++k) {
                const unsigned pair = k / channels, c = k % channels;
                if (c == 0 && pair % pairs == 0) {
                    const uint8_t *at = from + pair / pairs * 4;
                    activations = short_word ? le_load16(at) : le_load32(at);
                    activations |= short_word ? activations << 8 : 0u;
                    LE_NOT_BEFORE(activations);
                }
                a = c == 0 ? (activations >> (pair % pairs * in_storage)) & field : a;
                uint32_t halves = le_lane_pair(w, &word, k, w_bits, mask);
                sums[c] = (uint32_t)le_smlad(a, halves, (int32_t)sums[c]);
            }
            w += 4 * w_bits;
            from += inputs * in_storage / 8;
        }
        if (channels == 1) {
            le_append_field(out, channel, le_storage_bits(out_bits),
                            le_requantize_const((int32_t)sums[0], constants->multiplier,
                                                constants->offset, pre_shift, shift, out_bits));
        }
#pragma GCC unroll 2
        for (unsigned c = 0; c + 1 < channels; c += 2) {
            if (channel + c < layer->out_c) {
                le_fullyconnected_put(out, layer, constants + c, channel + c, sums[c],
                                      sums[c + 1], pre_shift, shift, out_bits);
            }
        }
        constants += channels;
    }
}

#endif
