/*
 * Convolution of any window through partial im2col: two pixels are widened in order to int16
 * columns, and weights are widened in order, too, so that no reordering is needed anywhere.
 */
#include "te_layers.h"

static int16_t *widen_run(const int8_t *in, int16_t *column, int32_t count, int32_t offset)
{
    const uint32_t offsets = ((uint32_t)offset & 0xffffu) * 0x00010001u;
    for (; count >= 4; count -= 4) {
        const uint32_t four = dsp_load(in);
        const uint32_t even = cn_sxtab16(offsets, four), odd = cn_sxtab16_ror8(offsets, four);
        const uint32_t first = dsp_low_halves(even, odd), second = dsp_high_halves(even, odd);
        __builtin_memcpy(column, &first, 4);
        __builtin_memcpy(column + 2, &second, 4);
        in += 4;
        column += 4;
    }
    for (; count > 0; count--)
        *column++ = (int16_t)(*in++ + offset);
    return column;
}

static int16_t *zero_run(int16_t *column, int32_t count)
{
    while (count-- > 0)
        *column++ = 0;
    return column;
}

/* All output channels of two pixels, two channels at a time; returns where the next output goes. */
__attribute__((noinline)) static int8_t *multiply_two_columns(const te_layer *layer,
                                                              const int16_t *columns,
                                                              int32_t depth, int8_t *out)
{
    const int32_t *const bias = layer->bias;
    const int32_t *const multiplier = layer->multiplier, *const shift = layer->shift;
    const te_output to = te_output_of(layer);
    const int32_t channels = layer->out_c;
    int8_t *const out_1 = out + channels;
    const int8_t *row_0 = layer->weight;

    for (int32_t channel = 0; channel < channels; channel += 2) {
        /* The last of an odd number of channels is computed twice. */
        const int32_t second = channel + 1 < channels ? channel + 1 : channel;
        const int16_t *column_0 = columns, *column_1 = columns + depth;
        const int8_t *row_1 = row_0 + (second - channel) * depth;
        const int8_t *const end = row_0 + (depth & ~3);
        int32_t sum_00 = bias[channel], sum_01 = sum_00;
        int32_t sum_10 = bias[second], sum_11 = sum_10;
        while (row_0 != end) {
            const uint32_t w0 = dsp_load(row_0), w1 = dsp_load(row_1);
            const uint32_t even_0 = cn_sxtb16(w0), odd_0 = cn_sxtb16_ror8(w0);
            const uint32_t even_1 = cn_sxtb16(w1), odd_1 = cn_sxtb16_ror8(w1);
            uint32_t a0 = dsp_load(column_0), a1 = dsp_load(column_1);
            const uint32_t first_0 = dsp_low_halves(even_0, odd_0);
            const uint32_t first_1 = dsp_low_halves(even_1, odd_1);
            sum_00 = dsp_smlad(first_0, a0, sum_00);
            sum_01 = dsp_smlad(first_0, a1, sum_01);
            sum_10 = dsp_smlad(first_1, a0, sum_10);
            sum_11 = dsp_smlad(first_1, a1, sum_11);
            a0 = dsp_load(column_0 + 2);
            a1 = dsp_load(column_1 + 2);
            const uint32_t last_0 = dsp_high_halves(even_0, odd_0);
            const uint32_t last_1 = dsp_high_halves(even_1, odd_1);
            sum_00 = dsp_smlad(last_0, a0, sum_00);
            sum_01 = dsp_smlad(last_0, a1, sum_01);
            sum_10 = dsp_smlad(last_1, a0, sum_10);
            sum_11 = dsp_smlad(last_1, a1, sum_11);
            row_0 += 4;
            row_1 += 4;
            column_0 += 4;
            column_1 += 4;
        }
        for (int32_t rest = depth & 3; rest > 0; rest--) {
            sum_00 += *row_0 * *column_0;
            sum_01 += *row_0++ * *column_1;
            sum_10 += *row_1 * *column_0++;
            sum_11 += *row_1++ * *column_1++;
        }
        const int32_t multiplier_0 = multiplier[channel], shift_0 = shift[channel];
        const int32_t multiplier_1 = multiplier[second], shift_1 = shift[second];
        out[channel] = te_finish_integer(to, sum_00, multiplier_0, shift_0);
        out_1[channel] = te_finish_integer(to, sum_01, multiplier_0, shift_0);
        out[second] = te_finish_integer(to, sum_10, multiplier_1, shift_1);
        out_1[second] = te_finish_integer(to, sum_11, multiplier_1, shift_1);
        row_0 = row_1;
    }
    return out_1 + channels;
}

/* The last pixel of an odd number of pixels. */
static void multiply_one_column(const te_layer *layer, const int16_t *column, int32_t depth,
                                int8_t *out)
{
    const te_output to = te_output_of(layer);
    const int8_t *row = layer->weight;
    for (int32_t channel = 0; channel < layer->out_c; channel++) {
        const int16_t *values = column;
        int32_t sum = layer->bias[channel];
        for (int32_t fours = depth >> 2; fours > 0; fours--) {
            const uint32_t w = dsp_load(row);
            const uint32_t even = cn_sxtb16(w), odd = cn_sxtb16_ror8(w);
            sum = dsp_smlad(dsp_low_halves(even, odd), dsp_load(values), sum);
            sum = dsp_smlad(dsp_high_halves(even, odd), dsp_load(values + 2), sum);
            row += 4;
            values += 4;
        }
        for (int32_t rest = depth & 3; rest > 0; rest--)
            sum += *row++ * *values++;
        *out++ = te_finish_integer(to, sum, layer->multiplier[channel], layer->shift[channel]);
    }
}

static inline int32_t within(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

void te_convolve(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, in_c = layer->in_c;
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    const int32_t depth = kernel_h * kernel_w * in_c;
    int32_t filled = 0;

    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            const int32_t base_x = layer->stride_w * out_x - layer->pad_left;
            const int32_t first = within(-base_x, 0, kernel_w);
            const int32_t last = within(in_w - base_x, first, kernel_w);
            int16_t *column = columns + filled * depth;
            for (int32_t y = base_y; y < base_y + kernel_h; y++) {
                if (y < 0 || y >= in_h) {
                    column = zero_run(column, kernel_w * in_c);
                    continue;
                }
                column = zero_run(column, first * in_c);
                column = widen_run(in + (y * in_w + base_x + first) * in_c, column,
                                   (last - first) * in_c, -layer->in_zero);
                column = zero_run(column, (kernel_w - last) * in_c);
            }
            if (++filled == 2) {
                out = multiply_two_columns(layer, columns, depth, out);
                filled = 0;
            }
        }
    }
    if (filled)
        multiply_one_column(layer, columns, depth, out);
}
