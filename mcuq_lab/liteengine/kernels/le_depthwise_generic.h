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
    const uint8_t *weights;        /* one stream: [two channels][ky][kx][channel]      */
    const le_requantize *channels; /* in_c, rounded up to whole pairs                 */
} le_depthwise_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_depthwise_layer) == 36, "as counted for flash");

/* Most rows that a kernel known at compile time may have. */
enum { LE_DEPTHWISE_ROWS = 7 };

/* Sums of two channels of one pixel. `rows` are the kernel's rows at the pixel's first column. */
LE_INLINE void le_depthwise_tap_rows(int32_t *low, int32_t *high, const int16_t *const *rows,
                                     const int16_t *weights, uint32_t offset, uint32_t halves,
                                     unsigned kernel_h, unsigned kernel_w) {
#pragma GCC unroll 7
    for (unsigned ky = 0; ky < kernel_h; ++ky) {
        const int16_t *pixel = rows[ky] + offset;
        LE_NOT_BEFORE(pixel); /* a pointer for each tap would not stay in a register */
#pragma GCC unroll 7
        for (unsigned kx = 0; kx < kernel_w; ++kx) {
            uint32_t a = le_load32(pixel + kx * halves);
            uint32_t w = le_load32(weights + 2 * (ky * kernel_w + kx));
            LE_NOT_BEFORE_2(a, w);
            *low = le_smlabb(a, w, *low);
            *high = le_smlatt(a, w, *high);
        }
    }
}

/* The same for a kernel of any size, walking from slot to slot. */
LE_INLINE void le_depthwise_taps(int32_t *low, int32_t *high, const le_window *window,
                                 const int16_t *ring, const int16_t *row, const int16_t *weights,
                                 uint32_t offset, uint32_t halves) {
    for (uint32_t ky = 0; ky < window->kernel_h; ++ky) {
        const int16_t *pixel = row + offset;
        for (uint32_t kx = 0; kx < window->kernel_w; ++kx) {
            uint32_t a = le_load32(pixel);
            uint32_t w = le_load32(weights);
            *low = le_smlabb(a, w, *low);
            *high = le_smlatt(a, w, *high);
            pixel += halves;
            weights += 2;
        }
        row = le_next_slot(window, ring, row);
    }
}

/* `kernel_h` and `kernel_w` are constants, at most LE_DEPTHWISE_ROWS, or 0 for any. */
LE_INLINE void le_depthwise_generic(const le_depthwise_layer *layer, const uint8_t *in,
                                    uint8_t *out, uint8_t *scratch, unsigned w_bits,
                                    unsigned in_storage, unsigned pre_shift, unsigned shift,
                                    unsigned out_bits, unsigned kernel_h, unsigned kernel_w) {
    const le_window *window = &layer->window;
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t channels = window->in_c;
    const uint32_t pixel_bytes = le_pixel_bytes(channels, out_storage);
    const uint32_t halves = window->pixel_halves;
    const uint32_t taps = (uint32_t)window->kernel_h * window->kernel_w;
    int16_t *ring = (int16_t *)(void *)scratch;
    int16_t *weights = ring + window->kernel_h * window->row_halves;

    le_unpack_weights(weights, layer->weights, (channels + 1) / 2 * 2 * taps, w_bits);
    uint32_t widened = 0;
    for (uint32_t y = 0; y < window->out_h; ++y) {
        uint32_t top = y * window->stride_h;
        widened = le_widen_rows(window, ring, in, widened, top, in_storage);
        const int16_t *rows[LE_DEPTHWISE_ROWS];
        rows[0] = le_slot(window, ring, top);
        for (unsigned ky = 1; ky < kernel_h; ++ky) {
            rows[ky] = le_next_slot(window, ring, rows[ky - 1]);
        }
        uint32_t column = 0;
        for (uint32_t x = 0; x < window->out_w; ++x) {
            const le_requantize *first = layer->channels;
            const int16_t *w = weights;
            for (uint32_t channel = 0; channel < channels; channel += 2) {
                /* Of a channel behind the last one, only narrow fields are written: zeros. */
                const int two = out_storage < 8 || channel + 1 < channels;
                int32_t low = first[0].start, high = first[1].start;
                if (kernel_h > 0) {
                    le_depthwise_tap_rows(&low, &high, rows, w, column + channel,
                                          halves, kernel_h, kernel_w);
                } else {
                    le_depthwise_taps(&low, &high, window, ring, rows[0], w, column + channel,
                                      halves);
                }
                le_put_pair(out, channel, out_storage,
                            le_requantize_const(low, first[0].multiplier, first[0].offset,
                                                pre_shift, shift, out_bits),
                            le_requantize_const(high, first[1].multiplier, first[1].offset,
                                                pre_shift, shift, out_bits),
                            two);
                first += 2;
                w += 2 * taps;
            }
            column += window->stride_w * halves;
            out += pixel_bytes;
        }
    }
}

#endif
