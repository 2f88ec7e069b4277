/* Depthwise convolution of any size, stride and padding, for any widths.
 *
 * Input rows and all weights are widened to halves in scratch; two neighbouring channels share a
 * word, whose halves SMLABB and SMLATT accumulate apart.
 */
#ifndef LE_DEPTHWISE_GENERIC_H
#define LE_DEPTHWISE_GENERIC_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"
#include "le_rows.h"
#include "le_unpack.h"

typedef struct {
    le_window window;
    uint8_t pre_shift;
    uint8_t shift;
    const uint8_t *weights;        /* one stream of in_c fields for each tap (ky, kx) */
    const le_requantize *channels; /* in_c                                            */
} le_depthwise_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_depthwise_layer) == 32, "as counted for flash");

LE_INLINE void le_depthwise_generic(const le_depthwise_layer *layer, const uint8_t *in,
                                    uint8_t *out, uint8_t *scratch, unsigned w_bits,
                                    unsigned in_storage, unsigned out_bits) {
    const le_window *window = &layer->window;
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t pixel_bytes = le_pixel_bytes(window->in_c, out_storage);
    const uint32_t halves = window->pixel_halves;
    const uint32_t taps = (uint32_t)window->kernel_h * window->kernel_w;
    const uint32_t tap_bytes = ((uint32_t)window->in_c * w_bits + 7) / 8;
    int16_t *ring = (int16_t *)(void *)scratch;
    int16_t *weights = ring + window->kernel_h * le_row_halves(window);

    for (uint32_t tap = 0; tap < taps; ++tap) {
        le_unpack_weights(weights + tap * halves, layer->weights + tap * tap_bytes, window->in_c,
                          w_bits);
    }
    uint32_t widened = 0;
    for (uint32_t y = 0; y < window->out_h; ++y) {
        uint32_t top = y * window->stride_h;
        widened = le_widen_rows(window, ring, in, widened, top, in_storage);
        const int16_t *rows = le_slot(window, ring, top);
        for (uint32_t x = 0; x < window->out_w; ++x) {
            const uint32_t column = x * window->stride_w * halves;
            for (uint32_t channel = 0; channel < window->in_c; channel += 2) {
                const int two = channel + 1 < window->in_c;
                const le_requantize *first = &layer->channels[channel];
                const le_requantize *second = two ? first + 1 : first;
                const int16_t *weight = weights + channel;
                const int16_t *row = rows;
                int32_t low = first->start;
                int32_t high = second->start;
                for (uint32_t ky = 0; ky < window->kernel_h; ++ky) {
                    const int16_t *pixel = row + column + channel;
                    for (uint32_t kx = 0; kx < window->kernel_w; ++kx) {
                        uint32_t a = le_load32(pixel);
                        uint32_t w = le_load32(weight);
                        low = le_smlabb(a, w, low);
                        high = le_smlatt(a, w, high);
                        pixel += halves;
                        weight += halves;
                    }
                    row = le_next_slot(window, ring, row);
                }
                le_put_pair(
                    out, channel, out_storage,
                    le_requantize_sum(low, first, layer->pre_shift, layer->shift, out_bits),
                    le_requantize_sum(high, second, layer->pre_shift, layer->shift, out_bits),
                    two);
            }
            out += pixel_bytes;
        }
    }
}

#endif
