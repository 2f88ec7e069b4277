/* Weights as halves, as they lie in flash: SMLAD multiplies two inputs by one half each. A group of
 * channels is one channel in a half, two, h = w0 + 2^field_bits * w1, or a chain of n channels in
 * n - 1 such halves, each with two neighbours; why that is exact: packing/channel_pairs.py.
 *
 * The sum of a pair counts on through all inputs. Its value where a segment ends, less the lower
 * channel's sum before, has the segment's own in its lowest field.
 *
 * Weights are [tile][word of activations][pair of its fields][half of the tile][two inputs], those
 * whose fields begin at the same bit of either half of the word. Rows are padded with zeros to whole
 * rounds, the layer's in_c: what lies behind the last activation counts nothing.
 */
#ifndef LE_FULLYCONNECTED_HALVES_H
#define LE_FULLYCONNECTED_HALVES_H

#include "le_fields.h"
#include "le_fullyconnected.h"

enum { LE_FULLYCONNECTED_HALVES = 5, LE_FULLYCONNECTED_CHANNELS = 10 }; /* most of a tile */

/* Adds the products of the inputs up to `end` to the sums of `halves` halves. */
LE_INLINE const uint8_t *le_fullyconnected_halves_add(uint32_t *sums, const uint8_t *w,
                                                      const uint8_t *in, const uint8_t *end,
                                                      unsigned storage, unsigned halves) {
    const uint32_t mask = le_field_mask(storage);
    for (; in != end; in += 4) {
        const uint32_t word = le_load32(in);
        for (unsigned step = 0; step < 16 / storage; ++step) {
            const uint32_t pair = le_field_pair(word, step, storage, mask);
            for (unsigned half = 0; half < halves; ++half) {
                sums[half] = (uint32_t)le_smlad(pair, le_load32(w), (int32_t)sums[half]);
                w += 4;
            }
        }
    }
    return w;
}

/* The sums of a group of `count` channels from those of its halves; `low` is the first channel's, of
 * a pair. */
LE_INLINE void le_fullyconnected_group(int32_t *channels, const uint32_t *sums, uint32_t low,
                                       unsigned count, unsigned field_bits) {
    channels[0] = (int32_t)(count == 2 ? low : sums[0]);
    if (count == 2) {
        channels[1] = (int32_t)(sums[0] - low) >> field_bits;
    }
    if (count > 2) {
        uint32_t coarse = (uint32_t)((int32_t)sums[0] >> field_bits);
        uint32_t exact = coarse + (uint32_t)le_sbfx(sums[1] - coarse, 0, field_bits);
        channels[0] = (int32_t)(sums[0] - (exact << field_bits));
        channels[1] = (int32_t)exact;
        for (unsigned i = 2; i < count; ++i) {
            channels[i] = (int32_t)(sums[i - 1] - (uint32_t)channels[i - 1]) >> field_bits;
        }
    }
}

/* The layer. `groups` are the numbers of channels of a tile's groups as hexadecimal digits, the
 * first group's the lowest. */
LE_INLINE void le_fullyconnected_halves(const le_fullyconnected_layer *layer, const uint8_t *in,
                                        uint8_t *out, unsigned in_storage, uint32_t groups,
                                        unsigned field_bits, uint32_t segment_inputs,
                                        unsigned pre_shift, unsigned shift, unsigned out_bits) {
    const uint8_t *const end = in + layer->in_c * in_storage / 8;
    const uint32_t segment_bytes = segment_inputs * in_storage / 8;
    const uint8_t *w = layer->weights;
    unsigned halves = 0;
    for (uint32_t left = groups; left != 0; left >>= 4) {
        halves += (left & 15u) > 1u ? (left & 15u) - 1u : 1u;
    }
    for (uint32_t channel = 0; channel < layer->out_c;) {
        uint32_t sums[LE_FULLYCONNECTED_HALVES] = {0}, low[LE_FULLYCONNECTED_HALVES] = {0};
        int32_t channels[LE_FULLYCONNECTED_CHANNELS];
        for (const uint8_t *from = in; from != end;) {
            const uint32_t left = (uint32_t)(end - from);
            const uint8_t *to = from + (left < segment_bytes ? left : segment_bytes);
            w = le_fullyconnected_halves_add(sums, w, from, to, in_storage, halves);
            from = to;
            for (unsigned half = 0; field_bits != 0 && half < halves; ++half) {
                low[half] += (uint32_t)le_sbfx(sums[half] - low[half], 0, field_bits);
            }
        }
        unsigned half = 0, count = 0;
        for (uint32_t left = groups; left != 0; left >>= 4) {
            const unsigned group = left & 15u;
            le_fullyconnected_group(channels + count, sums + half, low[half], group, field_bits);
            half += group > 1 ? group - 1 : 1;
            count += group;
        }
        for (unsigned i = 0; i < count && channel < layer->out_c; ++i, ++channel) {
            const le_requantize *constants = layer->channels + channel;
            const int32_t sum = le_wrapping_add(channels[i], constants->start);
            le_append_field(out, channel, le_storage_bits(out_bits),
                            le_requantize_const(sum, constants->multiplier, constants->offset,
                                                pre_shift, shift, out_bits));
        }
    }
}

#endif
