/* Convolution of any size, stride and padding, for any widths of weights and activations.
 *
 * The kernel_h input rows under the current output row wait in scratch, widened to halves, in a
 * ring of rows; padding is written into them as the zero point. A window is then kernel_h runs of
 * kernel_w * in_c neighbouring halves, and SMLAD takes two of them at a time. The weights of two
 * output channels are widened once for each output row; runs are filled up with zero weights to a
 * multiple of four, against which the halves behind a run do not matter. The tile is 2 pixels x
 * 2 channels. Rows of padding are left out where they hold zeros.
 */
#ifndef LE_CONV2D_GENERIC_H
#define LE_CONV2D_GENERIC_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"
#include "le_rows.h"
#include "le_unpack.h"

typedef struct {
    le_window window;
    uint32_t run; /* halves of kernel_w * in_c weights, filled up to a multiple of four */
    uint16_t out_c;
    uint8_t pre_shift;
    uint8_t shift;
    const uint8_t *weights;        /* a stream of kernel_h * kernel_w * in_c fields a channel */
    const le_requantize *channels; /* out_c                                                  */
} le_conv2d_layer;

_Static_assert(sizeof(void *) != 4 || sizeof(le_conv2d_layer) == 44, "as counted for flash");

/* Rows `first` to `end` of a window. */
typedef struct {
    uint32_t first, end;
} le_conv2d_rows;

/* Those that count of the window that begins at row `top` of the padded input. */
LE_INLINE le_conv2d_rows le_conv2d_rows_at(const le_window *window, uint32_t top) {
    const uint32_t behind = (uint32_t)window->pad_top + window->in_h;
    le_conv2d_rows rows = {0, window->kernel_h};
    if (window->zero_point == 0) {
        rows.first = top < window->pad_top ? window->pad_top - top : 0;
        rows.end = top + rows.end > behind ? behind - top : rows.end;
        if (top >= behind || rows.first >= rows.end) { /* nothing but padding */
            rows.first = rows.end = 0;
        }
    }
    return rows;
}

/* Widens the weights of one output channel for these rows; runs end in up to three zero weights. */
LE_INLINE void le_conv2d_weights(int16_t *to, const le_conv2d_layer *layer, uint32_t channel,
                                 unsigned w_bits, le_conv2d_rows rows) {
    const le_window *window = &layer->window;
    uint32_t taps = (uint32_t)window->kernel_w * window->in_c;
    uint32_t run = layer->run;
    uint32_t count = window->kernel_h * taps;
    while (rows.first * taps % 8 != 0) { /* eight weights begin at a byte, and at a word */
        rows.first -= 1;
    }
    const uint32_t skipped = rows.first * taps;
    le_unpack_weights(to + skipped,
                      layer->weights + channel * ((count * w_bits + 7) / 8) + skipped * w_bits / 8,
                      rows.end * taps - skipped, w_bits);
    if (run != taps) {
        for (uint32_t row = rows.end; row-- > rows.first;) { /* from the last: they move upwards */
            const int16_t *from = to + row * taps;
            uint32_t left = row > 0 ? taps : 0;
            while (left >= 4) {
                left -= 4;
                uint32_t low = le_load32(from + left), high = le_load32(from + left + 2);
                le_store32(to + row * run + left, low);
                le_store32(to + row * run + left + 2, high);
            }
            while (left > 0) {
                left -= 1;
                to[row * run + left] = from[left];
            }
            le_fill16(to + row * run + taps, 0, run - taps);
        }
    }
}

/* Sums of 2 pixels x 2 channels over `rows` rows; sums[0..1] are the first pixel's. `row` and the
 * weights are the first one's. */
LE_INLINE void le_conv2d_tile(int32_t sums[4], const le_conv2d_layer *layer, const int16_t *ring,
                              const int16_t *row, uint32_t rows, uint32_t column0,
                              uint32_t column1, const int16_t *weights0,
                              const int16_t *weights1) {
    const le_window *window = &layer->window;
    int32_t sum00 = sums[0], sum01 = sums[1], sum10 = sums[2], sum11 = sums[3];
    for (; rows > 0; --rows) {
        const int16_t *pixel0 = row + column0;
        const int16_t *pixel1 = row + column1;
        const int16_t *end = weights0 + layer->run;
        while (weights0 != end) {
#pragma GCC unroll 1
            for (unsigned i = 0; i < 4; i += 2) {
                uint32_t a0 = le_load32(pixel0 + i), a1 = le_load32(pixel1 + i);
                uint32_t w0 = le_load32(weights0 + i), w1 = le_load32(weights1 + i);
                LE_NOT_BEFORE_4(a0, a1, w0, w1);
                sum00 = le_smlad(a0, w0, sum00);
                sum01 = le_smlad(a0, w1, sum01);
                sum10 = le_smlad(a1, w0, sum10);
                sum11 = le_smlad(a1, w1, sum11);
            }
            pixel0 += 4;
            pixel1 += 4;
            weights0 += 4;
            weights1 += 4;
        }
        row = le_next_slot(window, ring, row);
    }
    sums[0] = sum00;
    sums[1] = sum01;
    sums[2] = sum10;
    sums[3] = sum11;
}

LE_INLINE void le_conv2d_generic(const le_conv2d_layer *layer, const uint8_t *in, uint8_t *out,
                                 uint8_t *scratch, unsigned w_bits, unsigned in_storage,
                                 unsigned out_bits) {
    const le_window *window = &layer->window;
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t pixel_bytes = le_pixel_bytes(layer->out_c, out_storage);
    const uint32_t step = (uint32_t)window->stride_w * window->in_c;
    int16_t *ring = (int16_t *)(void *)scratch;
    int16_t *weights0 = ring + window->kernel_h * window->row_halves;
    int16_t *weights1 = weights0 + window->kernel_h * layer->run;

    uint32_t widened = 0;
    for (uint32_t y = 0; y < window->out_h; ++y) {
        uint32_t top = y * window->stride_h;
        widened = le_widen_rows(window, ring, in, widened, top, in_storage);
        const le_conv2d_rows rows = le_conv2d_rows_at(window, top);
        const int16_t *row = le_slot(window, ring, top + rows.first);
        const uint32_t skipped = rows.first * layer->run;
        for (uint32_t channel = 0; channel < layer->out_c; channel += 2) {
            const int two_channels = channel + 1 < layer->out_c;
            const le_requantize *first = &layer->channels[channel];
            const le_requantize *second = two_channels ? first + 1 : first;
            le_conv2d_weights(weights0, layer, channel, w_bits, rows);
            if (two_channels) {
                le_conv2d_weights(weights1, layer, channel + 1, w_bits, rows);
            }
            for (uint32_t x = 0; x < window->out_w; x += 2) {
                const int two_pixels = x + 1 < window->out_w;
                int32_t sums[4] = {first->start, second->start, first->start, second->start};
                le_conv2d_tile(sums, layer, ring, row, rows.end - rows.first, x * step,
                               two_pixels ? (x + 1) * step : x * step, weights0 + skipped,
                               (two_channels ? weights1 : weights0) + skipped);
                for (int pixel = 0; pixel <= two_pixels; ++pixel) {
                    uint8_t *at = out + (y * window->out_w + x + (uint32_t)pixel) * pixel_bytes;
                    uint32_t low = le_requantize_sum(sums[2 * pixel], first, layer->pre_shift,
                                                     layer->shift, out_bits);
                    uint32_t high = le_requantize_sum(sums[2 * pixel + 1], second,
                                                      layer->pre_shift, layer->shift, out_bits);
                    le_put_pair(at, channel, out_storage, low, high, two_channels);
                }
            }
        }
    }
}

#endif
