/* 1x1 convolutions without padding, of which nothing is packed: where outputs are few, or channels
 * fill no words, packing a pixel takes longer than its products.
 *
 * All weights are widened into scratch once. A pixel is then a run of words of fields, of which one
 * instruction extracts a pair of halves for the SMLAD of two output channels; the fields behind
 * the last whole word come by themselves, and no byte behind a pixel is read.
 */
#ifndef LE_POINTS_H
#define LE_POINTS_H

#include <stdint.h>

#include "le_fields.h"
#include "le_memory.h"
#include "le_requantize.h"
#include "le_unpack.h"

typedef struct {
    uint32_t runs, run_length;     /* pixels at equal distances in memory                       */
    uint32_t step, run_step;       /* bytes from one pixel to the next, from run to run         */
    uint16_t in_c, out_c;
    uint32_t weight_count;         /* fields of all channels, see le_points_sums                */
    const uint8_t *weights;        /* one stream                                                */
    const le_requantize *channels; /* out_c                                                     */
} le_points_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_points_layer) == 32, "as counted for flash");

/* Adds the products of pairs 0 .. `pairs` of a word of each pixel. */
LE_INLINE void le_points_add(int32_t *sums, uint32_t fields0, uint32_t fields1, const uint32_t *w,
                             unsigned pairs, unsigned storage, unsigned channels) {
    uint32_t mask = le_field_mask(storage);
    LE_IN_REGISTER(mask);
#pragma GCC unroll 8
    for (unsigned j = 0; j < pairs; ++j) {
        uint32_t halves0 = le_field_pair(fields0, j, storage, mask);
        uint32_t halves1 = le_field_pair(fields1, j, storage, mask);
#pragma GCC unroll 2
        for (unsigned i = 0; i < channels; ++i) {
            uint32_t weight = le_load32(w + j * channels + i);
            sums[2 * i] = le_smlad(halves0, weight, sums[2 * i]);
            sums[2 * i + 1] = le_smlad(halves1, weight, sums[2 * i + 1]);
        }
        LE_NOT_BEFORE_2(fields0, fields1);
    }
}

/* Adds the products of two pixels to the sums of `channels` (1 or 2) outputs, [channel][pixel];
 * returns the weights behind.
 *
 * Weights are [pair of terms][channel]. Of a word, whose fields are 16 / storage pairs, pair j has
 * the fields j and j + half of them; of `rest` more fields likewise. */
LE_INLINE const uint32_t *le_points_sums(int32_t *sums, const uint8_t *pixel0,
                                         const uint8_t *pixel1, uint32_t words, const uint32_t *w,
                                         unsigned storage, unsigned rest, unsigned channels) {
    const unsigned word_pairs = 16 / storage, rest_pairs = (rest + 1) / 2;
    const uint32_t *end = w + words * word_pairs * channels;
    while (w != end) {
        uint32_t fields0 = le_load32(pixel0), fields1 = le_load32(pixel1);
        pixel0 += 4;
        pixel1 += 4;
        le_points_add(sums, fields0, fields1, w, word_pairs, storage, channels);
        w += word_pairs * channels;
    }
    if (rest > 0) {
        le_points_add(sums, le_load_rest(pixel0, rest, storage),
                      le_load_rest(pixel1, rest, storage), w, rest_pairs, storage, channels);
    }
    return w + rest_pairs * channels;
}

/* Requantizes the sums of two pixels in `channels` (1 or 2) outputs from `channel` (even) on, and
 * writes them. Of a pixel that is both of the two, either is written; they are equal. */
LE_INLINE void le_points_put(uint8_t *out0, uint8_t *out1, uint32_t channel, const int32_t *sums,
                             const le_requantize *constants, unsigned channels,
                             unsigned pre_shift, unsigned shift, unsigned out_bits) {
    const unsigned storage = le_storage_bits(out_bits);
    uint32_t y[4] = {0, 0, 0, 0};
#pragma GCC unroll 2
    for (unsigned i = 0; i < channels; ++i) {
        const int32_t multiplier = constants[i].multiplier, offset = constants[i].offset;
        y[2 * i] = le_requantize_const(sums[2 * i], multiplier, offset, pre_shift, shift, out_bits);
        y[2 * i + 1] =
            le_requantize_const(sums[2 * i + 1], multiplier, offset, pre_shift, shift, out_bits);
    }
    le_put_pair(out0, channel, storage, y[0], y[2], channels == 2);
    le_put_pair(out1, channel, storage, y[1], y[3], channels == 2);
}

/* The layer. `rest` is what in_c is more than whole words of fields, `pairs` whether there are two
 * outputs or more, `single` whether their number is odd. */
LE_INLINE void le_points(const le_points_layer *layer, const uint8_t *in, uint8_t *out,
                         uint8_t *scratch, unsigned w_bits, unsigned in_storage, unsigned rest,
                         unsigned pairs, unsigned single, unsigned pre_shift, unsigned shift,
                         unsigned out_bits) {
    const uint32_t words = layer->in_c * in_storage / 32;
    const uint32_t pixel_bytes = le_pixel_bytes(layer->out_c, le_storage_bits(out_bits));
    const uint32_t step = layer->step, even = layer->out_c & ~1u;
    const uint32_t *weights = (const uint32_t *)(const void *)scratch;
    le_unpack_weights((int16_t *)(void *)scratch, layer->weights, layer->weight_count, w_bits);
    for (uint32_t run = 0; run < layer->runs; ++run) {
        const uint8_t *pixel0 = in;
        for (uint32_t left = layer->run_length; left > 0;) {
            const uint8_t *pixel1 = pixel0;
            uint8_t *out1 = out;
            left -= 1;
            if (left > 0) {
                left -= 1;
                pixel1 += step;
                out1 += pixel_bytes;
            }
            const uint32_t *w = weights;
            const le_requantize *constants = layer->channels;
            uint32_t channel = 0;
            if (pairs) {
                do {
                    int32_t sums[4];
                    sums[0] = sums[1] = constants[0].start;
                    sums[2] = sums[3] = constants[1].start;
                    w = le_points_sums(sums, pixel0, pixel1, words, w, in_storage, rest, 2);
                    le_points_put(out, out1, channel, sums, constants, 2, pre_shift, shift,
                                  out_bits);
                    constants += 2;
                    channel += 2;
                } while (channel != even);
            }
            if (single) {
                int32_t sums[2];
                sums[0] = sums[1] = constants[0].start;
                le_points_sums(sums, pixel0, pixel1, words, w, in_storage, rest, 1);
                le_points_put(out, out1, channel, sums, constants, 1, pre_shift, shift, out_bits);
            }
            out = out1 + pixel_bytes;
            pixel0 = pixel1 + step;
        }
        in += layer->run_step;
    }
}

#endif
