/* Narrow weights, two output channels in a half: h = w0 + 2^field_bits * w1, as the half lies in
 * flash. SMLAD multiplies two inputs by two channels.
 *
 * One sum of a pair of channels counts on through all inputs. Its value where a segment ends, less
 * the lower channel's sum before, has the segment's own in its lowest field; see
 * packing/channel_pairs.py.
 *
 * Weights are [tile][word of activations][pair of its fields][pair of channels][two inputs], those
 * whose fields begin at the same bit of either half. Rows are padded with zeros to whole rounds,
 * the layer's in_c: what lies behind the last activation counts nothing.
 */
#ifndef LE_FULLYCONNECTED_HALVES_H
#define LE_FULLYCONNECTED_HALVES_H

#include "le_fields.h"
#include "le_fullyconnected.h"

enum { LE_FULLYCONNECTED_MOST_PAIRS = 5 }; /* of channels in a tile */

/* Adds the products of the inputs up to `end` to the sums of `pairs` pairs of channels. */
LE_INLINE const uint8_t *le_fullyconnected_halves_add(uint32_t *sums, const uint8_t *w,
                                                      const uint8_t *in, const uint8_t *end,
                                                      unsigned storage, unsigned pairs) {
    const uint32_t mask = le_field_mask(storage);
    for (; in != end; in += 4) {
        const uint32_t word = le_load32(in);
        for (unsigned step = 0; step < 16 / storage; ++step) {
            const uint32_t halves = le_field_pair(word, step, storage, mask);
            for (unsigned pair = 0; pair < pairs; ++pair) {
                sums[pair] = (uint32_t)le_smlad(halves, le_load32(w), (int32_t)sums[pair]);
                w += 4;
            }
        }
    }
    return w;
}

LE_INLINE void le_fullyconnected_halves(const le_fullyconnected_layer *layer, const uint8_t *in,
                                        uint8_t *out, unsigned in_storage, unsigned pairs,
                                        unsigned field_bits, uint32_t segment_inputs,
                                        unsigned pre_shift, unsigned shift, unsigned out_bits) {
    const uint8_t *const end = in + layer->in_c * in_storage / 8;
    const uint32_t segment_bytes = segment_inputs * in_storage / 8;
    const uint8_t *w = layer->weights;
    const le_requantize *constants = layer->channels;
    for (uint32_t channel = 0; channel < layer->out_c; channel += 2 * pairs) {
        uint32_t sums[LE_FULLYCONNECTED_MOST_PAIRS] = {0}, low[LE_FULLYCONNECTED_MOST_PAIRS] = {0};
        for (const uint8_t *from = in; from != end;) {
            const uint32_t left = (uint32_t)(end - from);
            const uint8_t *to = from + (left < segment_bytes ? left : segment_bytes);
            w = le_fullyconnected_halves_add(sums, w, from, to, in_storage, pairs);
            from = to;
            for (unsigned pair = 0; pair < pairs; ++pair) {
                low[pair] += (uint32_t)le_sbfx(sums[pair] - low[pair], 0, field_bits);
            }
        }
        for (unsigned pair = 0; pair < pairs; ++pair, constants += 2) {
            if (channel + 2 * pair < layer->out_c) {
                int32_t high = (int32_t)(sums[pair] - low[pair]) >> field_bits;
                le_fullyconnected_put(out, layer, constants, channel + 2 * pair,
                                      low[pair] + (uint32_t)constants[0].start,
                                      (uint32_t)high + (uint32_t)constants[1].start, pre_shift,
                                      shift, out_bits);
            }
        }
    }
}

#endif
