/*
 * Convolution through partial im2col: two output pixels at a time are widened to int16 columns, then
 * multiplied with two rows of weights at a time, so that each load serves two SMLADs.
 */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

/*
 * Widens `count` values and adds `offset`. Within each group of four the order becomes 0, 2, 1, 3:
 * that is how SXTB16 unpacks the weights, and it saves repacking both.
 */
static int16_t *widen_column(const int8_t *in, int16_t *column, int32_t count, int32_t offset)
{
    const uint32_t offsets = ((uint32_t)offset & 0xffffu) * 0x00010001u;
    int32_t groups = count >> 2;
    while (groups-- > 0) {
        const uint32_t four = cn_load_4(in);
        const uint32_t even = cn_sxtab16(offsets, four);
        const uint32_t odd = cn_sxtab16_ror8(offsets, four);
        __builtin_memcpy(column, &even, 4);
        __builtin_memcpy(column + 2, &odd, 4);
        in += 4;
        column += 4;
    }
    return column;
}

/* The same without reordering, for channel counts that are no multiple of four. */
static int16_t *widen_in_order(const int8_t *in, int16_t *column, int32_t count, int32_t offset)
{
    for (int32_t i = 0; i < count; i++)
        *column++ = (int16_t)(*in++ + offset);
    return column;
}

/* In-order columns get the even-odd order of the weights once they are whole. */
static void reorder_column(int16_t *column, int32_t count)
{
    for (int32_t i = 0; i + 4 <= count; i += 4) {
        const int16_t second = column[i + 1];
        column[i + 1] = column[i + 2];
        column[i + 2] = second;
    }
}

static int16_t *zero_column(int16_t *column, int32_t count)
{
    while (count-- > 0)
        *column++ = 0;
    return column;
}

/*
 * All output channels of two pixels; returns where the next output goes. Not inlined: its inner loop
 * needs every register, and the caller's variables would be kept there at its expense.
 */
__attribute__((noinline)) static int8_t *multiply_two_columns(const cn_layer *layer, const int16_t *columns, int32_t depth,
                                    int32_t pitch, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->out_c;
    int8_t *out_0 = out;
    int8_t *out_1 = out + channels;
    const int8_t *row_0 = layer->weight;
    int32_t channel = 0;

    for (; channel + 2 <= channels; channel += 2) {
        const int16_t *column_0 = columns;
        const int16_t *column_1 = columns + pitch;
        const int8_t *row_1 = row_0 + depth;
        int32_t sum_00 = layer->bias[channel], sum_01 = sum_00;
        int32_t sum_10 = layer->bias[channel + 1], sum_11 = sum_10;

        const int8_t *const end = row_0 + (depth & ~3);
        while (row_0 != end) {
            const uint32_t w0 = cn_load_4(row_0);
            const uint32_t w1 = cn_load_4(row_1);
            uint32_t a0 = cn_load_2x16(column_0);
            uint32_t a1 = cn_load_2x16(column_1);
            const uint32_t w0_even = cn_sxtb16(w0), w0_odd = cn_sxtb16_ror8(w0);
            const uint32_t w1_even = cn_sxtb16(w1), w1_odd = cn_sxtb16_ror8(w1);
            sum_00 = cn_smlad(w0_even, a0, sum_00);
            sum_01 = cn_smlad(w0_even, a1, sum_01);
            sum_10 = cn_smlad(w1_even, a0, sum_10);
            sum_11 = cn_smlad(w1_even, a1, sum_11);
            a0 = cn_load_2x16(column_0 + 2);
            a1 = cn_load_2x16(column_1 + 2);
            sum_00 = cn_smlad(w0_odd, a0, sum_00);
            sum_01 = cn_smlad(w0_odd, a1, sum_01);
            sum_10 = cn_smlad(w1_odd, a0, sum_10);
            sum_11 = cn_smlad(w1_odd, a1, sum_11);
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
        *out_0++ = cn_finish(to, sum_00, channel);
        *out_0++ = cn_finish(to, sum_10, channel + 1);
        *out_1++ = cn_finish(to, sum_01, channel);
        *out_1++ = cn_finish(to, sum_11, channel + 1);
        row_0 = row_1;
    }
    if (channel < channels) {
        const int16_t *column_0 = columns;
        const int16_t *column_1 = columns + pitch;
        int32_t sum_0 = layer->bias[channel], sum_1 = sum_0;
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            const uint32_t w = cn_load_4(row_0);
            const uint32_t even = cn_sxtb16(w), odd = cn_sxtb16_ror8(w);
            sum_0 = cn_smlad(even, cn_load_2x16(column_0), sum_0);
            sum_1 = cn_smlad(even, cn_load_2x16(column_1), sum_1);
            sum_0 = cn_smlad(odd, cn_load_2x16(column_0 + 2), sum_0);
            sum_1 = cn_smlad(odd, cn_load_2x16(column_1 + 2), sum_1);
            row_0 += 4;
            column_0 += 4;
            column_1 += 4;
        }
        for (int32_t rest = depth & 3; rest > 0; rest--) {
            sum_0 += *row_0 * *column_0++;
            sum_1 += *row_0++ * *column_1++;
        }
        *out_0++ = cn_finish(to, sum_0, channel);
        *out_1++ = cn_finish(to, sum_1, channel);
    }
    return out_1;
}

/* The last pixel of an odd number of pixels. */
static void multiply_one_column(const cn_layer *layer, const int16_t *column, int32_t depth,
                                int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int8_t *row = layer->weight;
    for (int32_t channel = 0; channel < layer->out_c; channel++) {
        const int16_t *values = column;
        int32_t sum = layer->bias[channel];
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            const uint32_t w = cn_load_4(row);
            sum = cn_smlad(cn_sxtb16(w), cn_load_2x16(values), sum);
            sum = cn_smlad(cn_sxtb16_ror8(w), cn_load_2x16(values + 2), sum);
            row += 4;
            values += 4;
        }
        for (int32_t rest = depth & 3; rest > 0; rest--)
            sum += *row++ * *values++;
        *out++ = cn_finish(to, sum, channel);
    }
}

void cn_convolve_s8(const cn_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, in_c = layer->in_c;
    const int32_t depth = layer->kernel_h * layer->kernel_w * in_c;
    const int32_t pitch = (depth + 3) & ~3;
    const int32_t in_groups = (in_c & 3) == 0;
    int32_t filled = 0;

    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
            const int32_t base_x = layer->stride_w * out_x - layer->pad_left;
            int16_t *const first = columns + filled * pitch;
            int16_t *column = first;
            for (int32_t y = base_y; y < base_y + layer->kernel_h; y++) {
                for (int32_t x = base_x; x < base_x + layer->kernel_w; x++) {
                    const int8_t *pixel = in + (y * in_w + x) * in_c;
                    if (y < 0 || y >= in_h || x < 0 || x >= in_w)
                        column = zero_column(column, in_c);
                    else if (in_groups)
                        column = widen_column(pixel, column, in_c, layer->in_offset);
                    else
                        column = widen_in_order(pixel, column, in_c, layer->in_offset);
                }
            }
            if (!in_groups)
                reorder_column(first, depth);
            if (++filled == 2) {
                out = multiply_two_columns(layer, columns, depth, pitch, out);
                filled = 0;
            }
        }
    }
    if (filled)
        multiply_one_column(layer, columns, depth, out);
}
