/* Depthwise convolutions of 1x1 without padding: each input is multiplied once, so nothing is
 * widened but the weights. Four channels of a pixel at a time, those left over by themselves; no
 * byte behind a pixel is read or written.
 */
#ifndef LE_DEPTHWISE_POINTS_H
#define LE_DEPTHWISE_POINTS_H

#include <stdint.h>

#include "le_fields.h"
#include "le_memory.h"
#include "le_requantize.h"
#include "le_unpack.h"

typedef struct {
    uint32_t runs, run_length;     /* pixels at equal distances in memory               */
    uint32_t step, run_step;       /* bytes from one pixel to the next, from run to run */
    uint32_t channel_count;
    const uint8_t *weights;        /* one stream; of four channels 0, 2, 1, 3           */
    const le_requantize *channels; /* channel_count                                     */
} le_depthwise_points_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_depthwise_points_layer) == 28,
               "as counted for flash");

/* Outputs of `count` channels (up to four, a constant), side by side from bit 0, of their fields
 * and two words of weights. */
LE_INLINE uint32_t le_depthwise_points_outputs(uint32_t fields, const uint32_t *w,
                                               const le_requantize *constants, unsigned count,
                                               unsigned storage, unsigned pre_shift,
                                               unsigned shift, unsigned out_bits) {
    const uint32_t quad = le_spread_quad(fields, storage);
    uint32_t outputs = 0;
#pragma GCC unroll 4
    for (unsigned i = 0; i < count; ++i) {
        const uint32_t halves = i % 2 == 0 ? le_even(quad, storage) : le_odd(quad, storage);
        const int32_t start = constants[i].start;
        const uint32_t weight = le_load32(w + i % 2);
        const int32_t sum = i < 2 ? le_smlabb(halves, weight, start)
                                  : le_smlatt(halves, weight, start);
        outputs |= le_requantize_const(sum, constants[i].multiplier, constants[i].offset,
                                       pre_shift, shift, out_bits)
                   << (i * le_storage_bits(out_bits));
    }
    return outputs;
}

/* The layer. `quads` is whether there are four channels or more, `rest` what they are more than a
 * multiple of four. */
LE_INLINE void le_depthwise_points(const le_depthwise_points_layer *layer, const uint8_t *in,
                                   uint8_t *out, uint8_t *scratch, unsigned w_bits,
                                   unsigned in_storage, unsigned quads, unsigned rest,
                                   unsigned pre_shift, unsigned shift, unsigned out_bits) {
    const unsigned in_bytes = in_storage / 2, out_bytes = le_storage_bits(out_bits) / 2;
    const unsigned in_rest = (rest * in_storage + 7) / 8;
    const unsigned out_rest = (rest * le_storage_bits(out_bits) + 7) / 8;
    const uint32_t *weights = (const uint32_t *)(const void *)scratch;
    const le_requantize *channels = layer->channels;
    const le_requantize *end = channels + (layer->channel_count & ~3u);
    const uint32_t gap = layer->step - (layer->channel_count / 4 * in_bytes + in_rest);
    le_unpack_weights((int16_t *)(void *)scratch, layer->weights,
                      (layer->channel_count + 3) & ~3u, w_bits);
    le_requantize last[3];
#pragma GCC unroll 3
    for (unsigned i = 0; i < rest; ++i) {
        last[i] = end[i];
    }
    for (uint32_t run = layer->runs; run > 0; --run) {
        const uint8_t *from = in;
        for (uint32_t left = layer->run_length; left > 0; --left) {
            const uint32_t *w = weights;
            if (quads) {
                const le_requantize *constants = channels;
                do {
                    uint32_t outputs = le_depthwise_points_outputs(
                        le_load_bytes(from, in_bytes), w, constants, 4, in_storage, pre_shift,
                        shift, out_bits);
                    le_store_bytes(out, outputs, out_bytes);
                    w += 2;
                    constants += 4;
                    from += in_bytes;
                    out += out_bytes;
                } while (constants != end);
            }
            if (rest > 0) {
                uint32_t outputs = le_depthwise_points_outputs(
                    le_load_bytes(from, in_rest), w, last, rest, in_storage, pre_shift, shift,
                    out_bits);
                le_store_bytes(out, outputs, out_rest);
                from += in_rest;
                out += out_rest;
            }
            from += gap;
        }
        in += layer->run_step;
    }
}

#endif
