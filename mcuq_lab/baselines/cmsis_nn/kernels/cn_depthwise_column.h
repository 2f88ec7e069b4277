/* What depthwise layers share that go through a column: the column itself, and a step along it. */
#ifndef CN_DEPTHWISE_COLUMN_H
#define CN_DEPTHWISE_COLUMN_H

#include "cn_column.h"
#include "cn_layers.h"
#include "cn_support.h"

static inline int32_t cn_smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

static inline int32_t cn_larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* The window of one output pixel, tap after tap. */
static inline void cn_fill_column(const cn_layer *layer, const int8_t *in, int16_t *column, int32_t base_y,
                        int32_t base_x)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, channels = layer->in_c;
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    const int32_t row = kernel_w * channels, offset = layer->in_offset;
    const int32_t first = cn_smaller(kernel_h, cn_larger(0, -base_y));
    const int32_t last = cn_larger(first, cn_smaller(kernel_h, in_h - base_y));
    if (first != 0)
        __builtin_memset(column, 0, (size_t)(row * first) * sizeof *column);
    column += row * first;
    for (int32_t ky = first; ky < last; ky++) {
        for (int32_t kx = 0; kx < kernel_w; kx++) {
            const int32_t y = base_y + ky, x = base_x + kx;
            if (x < 0 || x >= in_w)
                __builtin_memset(column, 0, (size_t)channels * sizeof *column);
            else
                cn_widen_in_order(in + (y * in_w + x) * channels, column, channels, offset);
            column += channels;
        }
    }
    if (kernel_h != last)
        __builtin_memset(column, 0, (size_t)(row * (kernel_h - last)) * sizeof *column);
}

/*
 * Two taps of four channels. Weights are widened: those of channels 0 and 2, and of 1 and 3, of each tap;
 * of the values, each sum wants both taps in one word.
 */
static inline void cn_multiply_two_taps(int32_t sum[4], const int16_t *values, int32_t channels,
                                        uint32_t w0_even, uint32_t w0_odd, uint32_t w1_even,
                                        uint32_t w1_odd)
{
    uint32_t a0 = dsp_load(values), a1 = dsp_load(values + channels);
    sum[0] = dsp_smlad(dsp_low_halves(a1, a0), dsp_low_halves(w1_even, w0_even), sum[0]);
    sum[1] = dsp_smlad(dsp_high_halves(a1, a0), dsp_low_halves(w1_odd, w0_odd), sum[1]);
    a0 = dsp_load(values + 2);
    a1 = dsp_load(values + channels + 2);
    sum[2] = dsp_smlad(dsp_low_halves(a1, a0), dsp_high_halves(w1_even, w0_even), sum[2]);
    sum[3] = dsp_smlad(dsp_high_halves(a1, a0), dsp_high_halves(w1_odd, w0_odd), sum[3]);
}

#endif
