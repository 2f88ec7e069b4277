/*
 * Convolution through partial im2col: the window of an output pixel is gathered as bytes, then widened
 * to a column of int16; every second column, two of them are multiplied with two rows of weights at a
 * time, so that each load serves two SMLADs.
 */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

/*
 * Widens `count` values and adds `offset`. Within each group of four the order becomes 0, 2, 1, 3:
 * that is how SXTB16 unpacks the weights, and it saves repacking both.
 */
CN_ALONE static void widen_column(const int8_t *in, int16_t *column,
                                                   int32_t count, int32_t offset)
{
    const uint32_t offsets = cn_both(offset);
    for (int32_t groups = count >> 2; groups > 0; groups--) {
        const uint32_t four = dsp_load(in);
        dsp_store(column, cn_sxtab16(offsets, four));
        dsp_store(column + 2, cn_sxtab16(offsets, cn_rotate_8(four)));
        in += 4;
        column += 4;
    }
    for (int32_t rest = count & 3; rest > 0; rest--)
        *column++ = (int16_t)(*in++ + offset);
}

/* All output channels of two pixels; returns where the next output goes. */
CN_ALONE static int8_t *multiply_two_columns(const cn_layer *layer,
                                                              const int16_t *columns,
                                                              int32_t depth, int32_t pitch,
                                                              int8_t *out_0)
{
    const cn_output to = cn_output_of(layer);
    const int32_t *bias = layer->bias, *multiplier = to.multiplier, *shift = to.shift;
    const int32_t channels = layer->out_c;
    int8_t *out_1 = out_0 + channels;
    const int8_t *row_0 = layer->weight;

    for (int32_t pairs = channels >> 1; pairs > 0; pairs--) {
        const int16_t *column_0 = columns, *column_1 = columns + pitch;
        const int8_t *row_1 = row_0 + depth;
        int32_t sum_00 = *bias, sum_01 = *bias++;
        int32_t sum_10 = *bias, sum_11 = *bias++;

        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            uint32_t a0 = cn_next_2x16(&column_0), a1 = cn_next_2x16(&column_1);
            const uint32_t w0 = cn_next_4(&row_0);
            const uint32_t w0_odd = cn_sxtb16(cn_rotate_8(w0)), w0_even = cn_sxtb16(w0);
            const uint32_t w1 = cn_next_4(&row_1);
            const uint32_t w1_odd = cn_sxtb16(cn_rotate_8(w1)), w1_even = cn_sxtb16(w1);
            sum_00 = dsp_smlad(w0_even, a0, sum_00);
            sum_01 = dsp_smlad(w0_even, a1, sum_01);
            sum_10 = dsp_smlad(w1_even, a0, sum_10);
            sum_11 = dsp_smlad(w1_even, a1, sum_11);
            a0 = cn_next_2x16(&column_0);
            a1 = cn_next_2x16(&column_1);
            sum_00 = dsp_smlad(w0_odd, a0, sum_00);
            sum_01 = dsp_smlad(w0_odd, a1, sum_01);
            sum_10 = dsp_smlad(w1_odd, a0, sum_10);
            sum_11 = dsp_smlad(w1_odd, a1, sum_11);
        }
        for (int32_t rest = depth & 3; rest > 0; rest--) {
            sum_00 += *row_0 * *column_0;
            sum_01 += *row_0++ * *column_1;
            sum_10 += *row_1 * *column_0++;
            sum_11 += *row_1++ * *column_1++;
        }
        *out_0++ = cn_scale(to, sum_00, *multiplier, *shift);
        *out_1++ = cn_scale(to, sum_01, *multiplier++, *shift++);
        *out_0++ = cn_scale(to, sum_10, *multiplier, *shift);
        *out_1++ = cn_scale(to, sum_11, *multiplier++, *shift++);
        row_0 += depth;
    }
    if (channels & 1) {
        const int16_t *column_0 = columns, *column_1 = columns + pitch;
        int32_t sum_0 = *bias, sum_1 = *bias;
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            uint32_t a0 = cn_next_2x16(&column_0), a1 = cn_next_2x16(&column_1);
            const uint32_t w = cn_next_4(&row_0);
            const uint32_t odd = cn_sxtb16(cn_rotate_8(w)), even = cn_sxtb16(w);
            sum_0 = dsp_smlad(even, a0, sum_0);
            sum_1 = dsp_smlad(even, a1, sum_1);
            a0 = cn_next_2x16(&column_0);
            a1 = cn_next_2x16(&column_1);
            sum_0 = dsp_smlad(odd, a0, sum_0);
            sum_1 = dsp_smlad(odd, a1, sum_1);
        }
        for (int32_t rest = depth & 3; rest > 0; rest--) {
            sum_0 += *row_0 * *column_0++;
            sum_1 += *row_0++ * *column_1++;
        }
        *out_0++ = cn_scale(to, sum_0, *multiplier, *shift);
        *out_1++ = cn_scale(to, sum_1, *multiplier, *shift);
    }
    return out_0 + channels;
}

/* The last pixel of an odd number of pixels, one channel at a time. */
static void multiply_one_column(const cn_layer *layer, const int16_t *column, int32_t depth,
                                int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t *const bias = layer->bias;
    const int8_t *row = layer->weight;
    const int32_t channels = layer->out_c;
    for (int32_t channel = 0; channel < channels; channel++) {
        const int16_t *values = column;
        int32_t sum = bias[channel];
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            const uint32_t w = cn_next_4(&row);
            const uint32_t odd = cn_sxtb16(cn_rotate_8(w)), even = cn_sxtb16(w);
            sum = dsp_smlad(even, cn_next_2x16(&values), sum);
            sum = dsp_smlad(odd, cn_next_2x16(&values), sum);
        }
        for (int32_t rest = depth & 3; rest > 0; rest--)
            sum += *row++ * *values++;
        *out++ = cn_finish(to, sum, channel);
    }
}

void cn_convolve_s8(const cn_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, in_c = layer->in_c;
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    const int32_t stride_h = layer->stride_h, stride_w = layer->stride_w;
    const int32_t out_h = layer->out_h, out_w = layer->out_w;
    const int32_t pad_top = layer->pad_top, pad_left = layer->pad_left;
    const int32_t offset = layer->in_offset;
    const int32_t depth = kernel_h * kernel_w * in_c;
    const int32_t pitch = (depth + 3) & ~3;
    /* The bytes lie where the second column will be: it is written behind where it is read. */
    int8_t *const gathered = (int8_t *)(columns + pitch);
    int8_t *bytes = gathered;
    int32_t filled = 0;

    for (int32_t out_y = 0; out_y < out_h; out_y++) {
        for (int32_t out_x = 0; out_x < out_w; out_x++) {
            const int32_t base_y = stride_h * out_y - pad_top, base_x = stride_w * out_x - pad_left;
            for (int32_t ky = 0; ky < kernel_h; ky++) {
                for (int32_t kx = 0; kx < kernel_w; kx++) {
                    const int32_t y = base_y + ky, x = base_x + kx;
                    if (y < 0 || y >= in_h || x < 0 || x >= in_w)
                        __builtin_memset(bytes, (int8_t)-offset, (size_t)in_c);
                    else
                        __builtin_memcpy(bytes, in + (y * in_w + x) * in_c, (size_t)in_c);
                    bytes += in_c;
                }
            }
            widen_column(bytes - depth, columns + filled * pitch, depth, offset);
            if (++filled == 2) {
                out = multiply_two_columns(layer, columns, depth, pitch, out);
                bytes = gathered;
                filled = 0;
            }
        }
    }
    if (filled)
        multiply_one_column(layer, columns, depth, out);
}
