/*
 * 1x1 convolution, unpadded, input channels a multiple of four, requantized in single precision.
 * The including file defines TE_NAME, the function, and TE_DEPTH: the number of input channels it is
 * made for, its loop over them unrolled, or 0 for any.
 *
 * Two pixels are widened to int16 columns in the order in which SXTB16 widens the weights.
 */
#include "te_layers.h"

#if TE_DEPTH
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL _Pragma("GCC unroll 1")
#endif

static int16_t *widen_pixel(const int8_t *in, int16_t *column, int32_t count, uint32_t offsets)
{
    for (; count > 0; count -= 4) {
        const uint32_t four = cn_load_4(in);
        const uint32_t even = cn_sxtab16(offsets, four), odd = cn_sxtab16_ror8(offsets, four);
        __builtin_memcpy(column, &even, 4);
        __builtin_memcpy(column + 2, &odd, 4);
        in += 4;
        column += 4;
    }
    return column;
}

/* All output channels of two pixels, two channels at a time; returns where the next output goes. */
__attribute__((noinline)) static int8_t *multiply_two_columns(const te_layer *layer,
                                                              const int16_t *columns, int8_t *out)
{
    const int32_t depth = TE_DEPTH ? TE_DEPTH : layer->in_c;
    const int32_t *const bias = layer->bias;
    const float *const scale = layer->scale;
    const int32_t channels = layer->out_c, zero = layer->out_zero;
    int8_t *const out_1 = out + channels;
    const int8_t *row_0 = layer->weight;

    for (int32_t channel = 0; channel < channels; channel += 2) {
        /* The last of an odd number of channels is computed twice. */
        const int32_t second = channel + 1 < channels ? channel + 1 : channel;
        const int16_t *column_0 = columns, *column_1 = columns + depth;
        const int8_t *row_1 = row_0 + (second - channel) * depth;
        int32_t sum_00 = bias[channel], sum_01 = sum_00;
        int32_t sum_10 = bias[second], sum_11 = sum_10;
        UNROLL
        for (int32_t left = depth; left > 0; left -= 4) {
            const uint32_t w0 = cn_load_4(row_0), w1 = cn_load_4(row_1);
            const uint32_t even_0 = cn_sxtb16(w0), odd_0 = cn_sxtb16_ror8(w0);
            const uint32_t even_1 = cn_sxtb16(w1), odd_1 = cn_sxtb16_ror8(w1);
            uint32_t a0 = cn_load_2x16(column_0), a1 = cn_load_2x16(column_1);
            sum_00 = cn_smlad(even_0, a0, sum_00);
            sum_01 = cn_smlad(even_0, a1, sum_01);
            sum_10 = cn_smlad(even_1, a0, sum_10);
            sum_11 = cn_smlad(even_1, a1, sum_11);
            a0 = cn_load_2x16(column_0 + 2);
            a1 = cn_load_2x16(column_1 + 2);
            sum_00 = cn_smlad(odd_0, a0, sum_00);
            sum_01 = cn_smlad(odd_0, a1, sum_01);
            sum_10 = cn_smlad(odd_1, a0, sum_10);
            sum_11 = cn_smlad(odd_1, a1, sum_11);
            row_0 += 4;
            row_1 += 4;
            column_0 += 4;
            column_1 += 4;
        }
        const float scale_0 = scale[channel], scale_1 = scale[second];
        out[channel] = te_finish_float(sum_00, scale_0, zero);
        out_1[channel] = te_finish_float(sum_01, scale_0, zero);
        out[second] = te_finish_float(sum_10, scale_1, zero);
        out_1[second] = te_finish_float(sum_11, scale_1, zero);
        row_0 = row_1;
    }
    return out_1 + channels;
}

/* The last pixel of an odd number of pixels. */
__attribute__((noinline)) static void multiply_one_column(const te_layer *layer,
                                                          const int16_t *column, int8_t *out)
{
    const int32_t depth = TE_DEPTH ? TE_DEPTH : layer->in_c;
    const int8_t *row = layer->weight;
    for (int32_t channel = 0; channel < layer->out_c; channel++) {
        const int16_t *values = column;
        int32_t sum = layer->bias[channel];
        for (int32_t left = depth; left > 0; left -= 4) {
            const uint32_t w = cn_load_4(row);
            sum = cn_smlad(cn_sxtb16(w), cn_load_2x16(values), sum);
            sum = cn_smlad(cn_sxtb16_ror8(w), cn_load_2x16(values + 2), sum);
            row += 4;
            values += 4;
        }
        out[channel] = te_finish_float(sum, layer->scale[channel], layer->out_zero);
    }
}

void TE_NAME(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out);

/* columns: 2 * in_c int16. */
void TE_NAME(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    const int32_t depth = TE_DEPTH ? TE_DEPTH : layer->in_c;
    const uint32_t offsets = ((uint32_t)-layer->in_zero & 0xffffu) * 0x00010001u;
    const int32_t step = layer->stride_w * depth;
    int32_t filled = 0;
    for (int32_t y = 0; y < layer->out_h; y++) {
        const int8_t *pixel = in + y * layer->stride_h * layer->in_w * depth;
        for (int32_t x = 0; x < layer->out_w; x++) {
            widen_pixel(pixel, columns + filled * depth, depth, offsets);
            pixel += step;
            if (++filled == 2) {
                out = multiply_two_columns(layer, columns, out);
                filled = 0;
            }
        }
    }
    if (filled)
        multiply_one_column(layer, columns, out);
}
