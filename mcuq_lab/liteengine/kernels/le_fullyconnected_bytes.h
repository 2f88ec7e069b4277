/* 8-bit weights, two output channels in a half: h = 256 * w' + u, with u = w + 128.
 *
 * Sums of h and of u give both channels: S = sum(a h), L = sum(a u), acc' = (S - L) / 256. With
 * 256 * K' as the start value of S that is exact as long as acc' + K' < 2^24.
 *
 * Rows are padded with w = 0 to whole rounds of eight inputs, the layer's in_c: what lies behind the
 * last activation is in S, in L and in the surplus of u, and counts nothing.
 */
#ifndef LE_FULLYCONNECTED_BYTES_H
#define LE_FULLYCONNECTED_BYTES_H

#include "le_fullyconnected.h"

enum { LE_FULLYCONNECTED_PAIRS = 3 }; /* most pairs of channels in a tile */

/* Adds the products of `w` to `end`, eight inputs at a time, to S and L of each pair in turn. */
LE_INLINE void le_fullyconnected_tile(uint32_t *sums, const uint8_t *w, const uint8_t *end,
                                      const uint8_t *in, unsigned storage, unsigned pairs) {
    while (w != end) {
#pragma GCC unroll 2
        for (unsigned i = 0; i < 2; ++i) {
            uint32_t quad = le_load_quad(in + i * storage / 2, storage);
            uint32_t even = le_even(quad, storage), odd = le_odd(quad, storage);
#pragma GCC unroll 3
            for (unsigned pair = 0; pair < pairs; ++pair) {
                uint32_t h0, h1;
                le_load_two(w, 8 * (i * pairs + pair), &h0, &h1);
                uint32_t *sum = sums + 2 * pair;
                sum[0] = (uint32_t)le_smlad(even, h0, (int32_t)sum[0]);
                sum[1] = (uint32_t)le_smlad(even, le_uxtb16(h0, 0), (int32_t)sum[1]);
                sum[0] = (uint32_t)le_smlad(odd, h1, (int32_t)sum[0]);
                sum[1] = (uint32_t)le_smlad(odd, le_uxtb16(h1, 0), (int32_t)sum[1]);
            }
        }
        w += 16 * pairs;
        in += storage;
    }
}

/* The outputs of one tile; returns the weights of the next one. */
LE_INLINE const uint8_t *le_fullyconnected_outputs(const le_fullyconnected_layer *layer,
                                                   const uint8_t *in, uint8_t *out,
                                                   uint32_t channel, const uint8_t *w,
                                                   uint32_t surplus, unsigned pairs,
                                                   unsigned in_storage, unsigned pre_shift,
                                                   unsigned shift, unsigned out_bits) {
    const le_requantize *constants = layer->channels + channel;
    const uint8_t *end = w + pairs * layer->tile_bytes;
    uint32_t sums[2 * LE_FULLYCONNECTED_PAIRS];
#pragma GCC unroll 3
    for (unsigned pair = 0; pair < pairs; ++pair) {
        sums[2 * pair] = (uint32_t)constants[2 * pair + 1].start << 8;
        sums[2 * pair + 1] = 0;
    }
    le_fullyconnected_tile(sums, w, end, in, in_storage, pairs);
#pragma GCC unroll 3
    for (unsigned pair = 0; pair < pairs; ++pair) {
        uint32_t low = sums[2 * pair + 1];
        le_fullyconnected_put(out, layer, constants, channel + 2 * pair,
                              low + (uint32_t)constants->start - surplus,
                              (sums[2 * pair] - low) >> 8, pre_shift, shift, out_bits);
        constants += 2;
    }
    return end;
}

LE_INLINE void le_fullyconnected_bytes(const le_fullyconnected_layer *layer, const uint8_t *in,
                                       uint8_t *out, unsigned in_storage, unsigned pre_shift,
                                       unsigned shift, unsigned out_bits) {
    const uint32_t surplus = le_fullyconnected_sum(in, layer->in_c, in_storage) << 7;
    const uint8_t *w = layer->weights;
    uint32_t channel = 0;
    while (channel < layer->out_c) {
        uint32_t pairs = (layer->out_c - channel + 1) / 2;
        if (pairs == 1) {
            w = le_fullyconnected_outputs(layer, in, out, channel, w, surplus, 1, in_storage,
                                          pre_shift, shift, out_bits);
            channel += 2;
        } else if (pairs == 2 || pairs == 4) { /* four pairs are two tiles of two */
            w = le_fullyconnected_outputs(layer, in, out, channel, w, surplus, 2, in_storage,
                                          pre_shift, shift, out_bits);
            channel += 4;
        } else {
            w = le_fullyconnected_outputs(layer, in, out, channel, w, surplus, 3, in_storage,
                                          pre_shift, shift, out_bits);
            channel += 6;
        }
    }
}

#endif
