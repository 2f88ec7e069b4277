/*
 * 3x3 convolution of three channels, a network's first layer: weights are widened to int16 once, in
 * SRAM, so that the 27 products of a window, unrolled, read operands as they are.
 */
#include "te_layers.h"

enum { ROW = 9, DEPTH = 27 }; /* values of one row of the window, and of the window */

static void widen_weights(const int8_t *weight, int16_t *wide, int32_t count)
{
    for (; count >= 4; count -= 4) {
        const uint32_t four = cn_next_4(&weight);
        const uint32_t even = cn_sxtb16(four), odd = cn_sxtb16_ror8(four);
        dsp_store(wide, dsp_low_halves(even, odd));
        dsp_store(wide + 2, dsp_high_halves(even, odd));
        wide += 4;
    }
    for (; count > 0; count--)
        *wide++ = *weight++;
}

/* A row of the window inside the input. */
static inline void widen_row(const int8_t *in, int16_t *column, uint32_t offsets)
{
#pragma GCC unroll 2
    for (int32_t i = 0; i < 8; i += 4) {
        const uint32_t four = dsp_load(in + i);
        const uint32_t even = cn_sxtab16(offsets, four), odd = cn_sxtab16_ror8(offsets, four);
        dsp_store(column + i, dsp_low_halves(even, odd));
        dsp_store(column + i + 2, dsp_high_halves(even, odd));
    }
    column[8] = (int16_t)(in[8] + (int16_t)offsets);
}

/* The window at (y, x), which reaches beyond the input; padding is zeros. */
static void widen_window_at_edge(const te_layer *layer, const int8_t *in, int16_t *column,
                                 int32_t y, int32_t x)
{
    const int32_t in_w = layer->in_w, in_zero = layer->in_zero;
    for (int32_t ky = y; ky < y + 3; ky++) {
        for (int32_t kx = x; kx < x + 3; kx++) {
            const int inside = ky >= 0 && ky < layer->in_h && kx >= 0 && kx < in_w;
            const int8_t *pixel = in + (ky * in_w + kx) * 3;
            for (int32_t c = 0; c < 3; c++)
                *column++ = (int16_t)(inside ? pixel[c] - in_zero : 0);
        }
    }
}

/* All output channels of two pixels, two channels at a time; returns where the next output goes. */
__attribute__((noinline)) static int8_t *multiply_two_columns(const te_layer *layer,
                                                              const int16_t *columns,
                                                              const int16_t *weights, int8_t *out)
{
    const int32_t *const multiplier = layer->multiplier, *const shift = layer->shift;
    const te_output to = te_output_of(layer);
    const int32_t channels = layer->out_c;
    int8_t *const out_1 = out + channels;

    for (int32_t channel = 0; channel < channels; channel += 2) {
        /* The last of an odd number of channels is computed twice. */
        const int32_t second = channel + 1 < channels ? channel + 1 : channel;
        const int16_t *row_0 = weights + channel * DEPTH, *row_1 = weights + second * DEPTH;
        int32_t sum_00 = layer->bias[channel], sum_01 = sum_00;
        int32_t sum_10 = layer->bias[second], sum_11 = sum_10;
#pragma GCC unroll 13
        for (int32_t i = 0; i < DEPTH - 1; i += 2) {
            const uint32_t a0 = dsp_load(columns + i), a1 = dsp_load(columns + DEPTH + i);
            const uint32_t w0 = dsp_load(row_0 + i), w1 = dsp_load(row_1 + i);
            sum_00 = dsp_smlad(w0, a0, sum_00);
            sum_01 = dsp_smlad(w0, a1, sum_01);
            sum_10 = dsp_smlad(w1, a0, sum_10);
            sum_11 = dsp_smlad(w1, a1, sum_11);
        }
        const int32_t a0 = columns[DEPTH - 1], a1 = columns[2 * DEPTH - 1];
        sum_00 += row_0[DEPTH - 1] * a0;
        sum_01 += row_0[DEPTH - 1] * a1;
        sum_10 += row_1[DEPTH - 1] * a0;
        sum_11 += row_1[DEPTH - 1] * a1;
        const int32_t multiplier_0 = multiplier[channel], shift_0 = shift[channel];
        const int32_t multiplier_1 = multiplier[second], shift_1 = shift[second];
        out[channel] = te_finish_integer(to, sum_00, multiplier_0, shift_0);
        out_1[channel] = te_finish_integer(to, sum_01, multiplier_0, shift_0);
        out[second] = te_finish_integer(to, sum_10, multiplier_1, shift_1);
        out_1[second] = te_finish_integer(to, sum_11, multiplier_1, shift_1);
    }
    return out_1 + channels;
}

/* The last pixel of an odd number of pixels. */
static void multiply_one_column(const te_layer *layer, const int16_t *column,
                                const int16_t *weights, int8_t *out)
{
    const te_output to = te_output_of(layer);
    for (int32_t channel = 0; channel < layer->out_c; channel++) {
        int32_t sum = layer->bias[channel];
        for (int32_t i = 0; i < DEPTH; i++)
            sum += *weights++ * column[i];
        *out++ = te_finish_integer(to, sum, layer->multiplier[channel], layer->shift[channel]);
    }
}

void te_convolve_3_channels(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    int16_t *const weights = columns + 2 * DEPTH;
    const uint32_t offsets = ((uint32_t)-layer->in_zero & 0xffffu) * 0x00010001u;
    const int32_t row = layer->in_w * 3, last_y = layer->in_h - 3, last_x = layer->in_w - 3;
    int16_t *column = columns;

    widen_weights(layer->weight, weights, layer->out_c * DEPTH);
    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t y = layer->stride_h * out_y - layer->pad_top;
        int32_t x = -layer->pad_left;
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            if (y < 0 || y > last_y || x < 0 || x > last_x) {
                widen_window_at_edge(layer, in, column, y, x);
            } else {
                const int8_t *pixels = in + y * row + x * 3;
                widen_row(pixels, column, offsets);
                widen_row(pixels + row, column + ROW, offsets);
                widen_row(pixels + 2 * row, column + 2 * ROW, offsets);
            }
            column += DEPTH;
            if (column == weights) {
                out = multiply_two_columns(layer, columns, weights, out);
                column = columns;
            }
            x += layer->stride_w;
        }
    }
    if (column != columns)
        multiply_one_column(layer, columns, weights, out);
}
