/*
 * 1x1 convolution, unpadded, input channels a multiple of four, requantized in single precision.
 * The including file defines TE_NAME, the function, and TE_DEPTH: the number of input channels that
 * the loop of pairs of pixels is unrolled for, or 0 for any; and TE_STRIDE_H and TE_STRIDE_W.
 *
 * Two pixels are widened to int16 columns in the order in which SXTB16 widens the weights.
 */
#include "te_layers.h"

/* Four input channels. */
static inline void widen_four(const int8_t **in, int16_t **column, uint32_t offsets)
{
    const uint32_t four = cn_next_4(in);
    const uint32_t odd = cn_sadd16(cn_sxtb16(cn_rotate_8(four)), offsets);
    const uint32_t even = cn_sadd16(cn_sxtb16(four), offsets);
    dsp_store(*column, even);
    dsp_store(*column + 2, odd);
    *column += 4;
}

/* Sums of a tile: [channel][pixel]. */
typedef struct {
    int32_t of[2][2];
} tile;

/*
 * Four input channels of two columns by two rows of weights. `a0` is the first column's word, already
 * loaded; with `more` to come, the next one is loaded between the products.
 */
static inline uint32_t multiply_four(tile *sum, uint32_t a0, const int8_t **row_0,
                                     const int8_t **row_1, const int16_t **column_0,
                                     const int16_t **column_1, int more)
{
    uint32_t a1 = cn_next_2x16(column_1);
    const uint32_t w0 = cn_next_4(row_0);
    const uint32_t odd_0 = cn_sxtb16(cn_rotate_8(w0)), even_0 = cn_sxtb16(w0);
    sum->of[0][0] = dsp_smlad(even_0, a0, sum->of[0][0]);
    const uint32_t w1 = cn_next_4(row_1);
    const uint32_t odd_1 = cn_sxtb16(cn_rotate_8(w1)), even_1 = cn_sxtb16(w1);
    sum->of[0][1] = dsp_smlad(even_0, a1, sum->of[0][1]);
    sum->of[1][0] = dsp_smlad(even_1, a0, sum->of[1][0]);
    a0 = cn_next_2x16(column_0);
    sum->of[1][1] = dsp_smlad(even_1, a1, sum->of[1][1]);
    a1 = cn_next_2x16(column_1);
    sum->of[0][0] = dsp_smlad(odd_0, a0, sum->of[0][0]);
    sum->of[0][1] = dsp_smlad(odd_0, a1, sum->of[0][1]);
    sum->of[1][0] = dsp_smlad(odd_1, a0, sum->of[1][0]);
    a0 = more ? cn_next_2x16(column_0) : 0;
    sum->of[1][1] = dsp_smlad(odd_1, a1, sum->of[1][1]);
    return a0;
}

/* All output channels of two pixels, two channels at a time; returns where the next output goes. */
__attribute__((noinline)) static int8_t *multiply_two_columns(const te_layer *layer,
                                                              const int16_t *columns,
                                                              int8_t *out_0)
{
    const int32_t depth = layer->in_c;
    const int32_t channels = layer->out_c;
    const int32_t *bias = layer->bias;
    const float *scale = layer->scale;
    int8_t *out_1 = out_0 + channels;
    const int8_t *row_0 = layer->weight;

    for (int32_t pairs = channels >> 1; pairs > 0; pairs--) {
        const int16_t *column_0 = columns, *column_1 = columns + depth;
        const int8_t *row_1 = row_0 + depth;
        const float scale_0 = scale[0], scale_1 = scale[1];
        tile sum = {{{bias[0], bias[0]}, {bias[1], bias[1]}}};
        bias += 2;
        scale += 2;
#if TE_DEPTH
        uint32_t a0 = cn_next_2x16(&column_0);
#pragma GCC unroll 16
        for (int32_t left = TE_DEPTH; left > 0; left -= 4)
            a0 = multiply_four(&sum, a0, &row_0, &row_1, &column_0, &column_1, left > 4);
#else
        const int8_t *const end = row_0 + depth;
        while (row_0 != end)
            multiply_four(&sum, cn_next_2x16(&column_0), &row_0, &row_1, &column_0, &column_1, 0);
#endif
        *out_0++ = te_finish_float(te_output_of(layer), sum.of[0][0], scale_0);
        *out_1++ = te_finish_float(te_output_of(layer), sum.of[0][1], scale_0);
        *out_0++ = te_finish_float(te_output_of(layer), sum.of[1][0], scale_1);
        *out_1++ = te_finish_float(te_output_of(layer), sum.of[1][1], scale_1);
        row_0 += depth;
    }
    if (channels & 1) {
        const int16_t *column_0 = columns, *column_1 = columns + depth;
        int32_t sum_0 = *bias, sum_1 = *bias;
        for (int32_t groups = depth >> 2; groups > 0; groups--) {
            const uint32_t w = cn_next_4(&row_0);
            const uint32_t odd = cn_sxtb16(cn_rotate_8(w)), even = cn_sxtb16(w);
            sum_0 = dsp_smlad(even, cn_next_2x16(&column_0), sum_0);
            sum_1 = dsp_smlad(even, cn_next_2x16(&column_1), sum_1);
            sum_0 = dsp_smlad(odd, cn_next_2x16(&column_0), sum_0);
            sum_1 = dsp_smlad(odd, cn_next_2x16(&column_1), sum_1);
        }
        *out_0++ = te_finish_float(te_output_of(layer), sum_0, *scale);
        *out_1++ = te_finish_float(te_output_of(layer), sum_1, *scale);
    }
    return out_0 + channels;
}

/* The last pixel of an odd number of pixels. */
__attribute__((noinline)) static void multiply_one_column(const te_layer *layer,
                                                          const int16_t *column, int8_t *out)
{
    const te_output to = te_output_of(layer);
    const int32_t depth = layer->in_c;
    const int8_t *row = layer->weight;
    for (int32_t channel = 0; channel < layer->out_c; channel++) {
        const int16_t *values = column;
        int32_t sum = layer->bias[channel];
        for (int32_t left = depth; left > 0; left -= 4) {
            const uint32_t w = dsp_load(row);
            sum = dsp_smlad(cn_sxtb16(w), dsp_load(values), sum);
            sum = dsp_smlad(cn_sxtb16_ror8(w), dsp_load(values + 2), sum);
            row += 4;
            values += 4;
        }
        out[channel] = te_finish_float(to, sum, layer->scale[channel]);
    }
}

void TE_NAME(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out);

/* columns: 2 * in_c int16. */
void TE_NAME(const te_layer *layer, const int8_t *in, int16_t *columns, int8_t *out)
{
    const int32_t fours = layer->in_c >> 2;
    const uint32_t offsets = ((uint32_t)-layer->in_zero & 0xffffu) * 0x00010001u;
#if TE_STRIDE_H == 1 && TE_STRIDE_W == 1 /* two pixels lie side by side */
    const int32_t pixels = layer->out_h * layer->out_w;
    for (int32_t pairs = pixels >> 1; pairs > 0; pairs--) {
        int16_t *column = columns;
        for (int32_t left = fours; left > 0; left--) {
            widen_four(&in, &column, offsets);
            widen_four(&in, &column, offsets);
        }
        out = multiply_two_columns(layer, columns, out);
    }
    if (pixels & 1) {
        int16_t *column = columns;
        for (int32_t left = fours; left > 0; left--)
            widen_four(&in, &column, offsets);
        multiply_one_column(layer, columns, out);
    }
#else
    int16_t *column = columns;
    int32_t odd = 0;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int32_t pixel = y * TE_STRIDE_H * layer->in_w + x * TE_STRIDE_W;
            const int8_t *channels = in + pixel * layer->in_c;
            for (int32_t left = fours; left > 0; left--)
                widen_four(&channels, &column, offsets);
            if (odd) {
                out = multiply_two_columns(layer, columns, out);
                column = columns;
            }
            odd = !odd;
        }
    }
    if (odd)
        multiply_one_column(layer, columns, out);
#endif
}
