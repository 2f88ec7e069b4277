/*
 * 1x1 convolution straight from the int8 input, without im2col: tiles of two pixels by two output
 * channels, the loop over the input's channels unrolled to sixteen. The input's offset is not added to
 * every input but, multiplied with the sum of the weights, once to every accumulator.
 */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

/* Sums of a tile: [pixel][channel]. */
typedef struct {
    int32_t of[2][2];
} tile;

/*
 * Four input channels of two pixels by two rows of weights, the second of each `step` further on. `w0`
 * is the first row's word, already loaded; with `more` to come, the next is loaded between the products.
 */
static inline uint32_t multiply_four(tile *sum, uint32_t w0, const int8_t **row, int32_t row_step,
                                     const int8_t **pixel, int32_t pixel_step, int more)
{
    const uint32_t w1 = dsp_load(*row + row_step - 4);
    const uint32_t w0_even = cn_sxtb16(w0);
    uint32_t a = cn_next_4(pixel);
    uint32_t a_even = cn_sxtb16(a);
    const uint32_t w0_odd = cn_sxtb16_ror8(w0);
    uint32_t a_odd = cn_sxtb16_ror8(a);
    sum->of[0][0] = dsp_smlad(a_even, w0_even, sum->of[0][0]);
    const uint32_t w1_even = cn_sxtb16(w1);
    sum->of[0][0] = dsp_smlad(a_odd, w0_odd, sum->of[0][0]);
    const uint32_t w1_odd = cn_sxtb16_ror8(w1);
    sum->of[0][1] = dsp_smlad(a_even, w1_even, sum->of[0][1]);
    sum->of[0][1] = dsp_smlad(a_odd, w1_odd, sum->of[0][1]);

    a = dsp_load(*pixel + pixel_step - 4);
    a_even = cn_sxtb16(a);
    a_odd = cn_sxtb16_ror8(a);
    sum->of[1][0] = dsp_smlad(a_even, w0_even, sum->of[1][0]);
    sum->of[1][1] = dsp_smlad(a_even, w1_even, sum->of[1][1]);
    sum->of[1][0] = dsp_smlad(a_odd, w0_odd, sum->of[1][0]);
    const uint32_t next = more ? cn_next_4(row) : 0;
    sum->of[1][1] = dsp_smlad(a_odd, w1_odd, sum->of[1][1]);
    return next;
}

/* The same for the last of an odd number of pixels. */
static inline void multiply_four_of_one(int32_t sum[2], const int8_t **row, int32_t row_step,
                                        const int8_t **pixel)
{
    const uint32_t w0 = cn_next_4(row);
    const uint32_t w1 = dsp_load(*row + row_step - 4);
    const uint32_t a = cn_next_4(pixel);
    const uint32_t w0_even = cn_sxtb16(w0), a_even = cn_sxtb16(a), w1_even = cn_sxtb16(w1);
    const uint32_t w0_odd = cn_sxtb16_ror8(w0), a_odd = cn_sxtb16_ror8(a);
    const uint32_t w1_odd = cn_sxtb16_ror8(w1);
    sum[0] = dsp_smlad(a_even, w0_even, sum[0]);
    sum[0] = dsp_smlad(a_odd, w0_odd, sum[0]);
    sum[1] = dsp_smlad(a_even, w1_even, sum[1]);
    sum[1] = dsp_smlad(a_odd, w1_odd, sum[1]);
}

/* From sums to outputs, all four before any is stored. */
static inline void scale(cn_output to, tile *sum, int32_t channel)
{
    for (int32_t pixel = 0; pixel < 2; pixel++)
        for (int32_t i = 0; i < 2; i++)
            sum->of[pixel][i] = cn_requantize(sum->of[pixel][i], to.multiplier[channel + i],
                                              to.shift[channel + i]);
    for (int32_t pixel = 0; pixel < 2; pixel++)
        for (int32_t i = 0; i < 2; i++)
            sum->of[pixel][i] = cn_clamp(sum->of[pixel][i] + to.offset, to.min, to.max);
}

/* `pixels` pixels that lie `step` values apart. */
CN_ALONE static void multiply(const cn_layer *layer, const int8_t *in, int32_t pixels, int32_t step,
                              int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t *const bias = layer->bias;
    const int32_t depth = layer->in_c, out_c = layer->out_c, offset = layer->in_offset;
    const int8_t *weight = layer->weight;

    for (int32_t channel = 0; channel <= out_c - 2; channel += 2) {
        const int8_t *pixel = in;
        int8_t *at = out;
        int32_t start_0 = 0, start_1 = 0;
        for (int32_t i = 0; i < depth; i++) {
            start_0 += weight[i];
            start_1 += weight[i + depth];
        }
        start_0 = start_0 * offset + bias[channel];
        start_1 = start_1 * offset + bias[channel + 1];

        for (int32_t pairs = pixels >> 1; pairs > 0; pairs--) {
            const int8_t *row = weight;
            tile sum = {{{start_0, start_1}, {start_0, start_1}}};
            int32_t i = 0;
            for (; i <= depth - 16; i += 16) {
                uint32_t w0 = cn_next_4(&row);
                w0 = multiply_four(&sum, w0, &row, depth, &pixel, step, 1);
                w0 = multiply_four(&sum, w0, &row, depth, &pixel, step, 1);
                w0 = multiply_four(&sum, w0, &row, depth, &pixel, step, 1);
                multiply_four(&sum, w0, &row, depth, &pixel, step, 0);
            }
            for (; i <= depth - 4; i += 4)
                multiply_four(&sum, cn_next_4(&row), &row, depth, &pixel, step, 0);
            for (; i < depth; i++) {
                const int32_t w0 = row[0], w1 = row[depth];
                sum.of[0][0] += pixel[0] * w0;
                sum.of[0][1] += pixel[0] * w1;
                sum.of[1][0] += pixel[step] * w0;
                sum.of[1][1] += pixel[step] * w1;
                row++;
                pixel++;
            }
            scale(to, &sum, channel);
            at[0] = (int8_t)sum.of[0][0];
            at[1] = (int8_t)sum.of[0][1];
            at += out_c;
            at[0] = (int8_t)sum.of[1][0];
            at[1] = (int8_t)sum.of[1][1];
            at += out_c;
            pixel += 2 * step - depth;
        }
        if (pixels & 1) {
            const int8_t *row = weight;
            int32_t sum[2] = {start_0, start_1};
            int32_t i = 0;
            for (; i <= depth - 16; i += 16) {
#pragma GCC unroll 4
                for (int32_t quarter = 0; quarter < 4; quarter++)
                    multiply_four_of_one(sum, &row, depth, &pixel);
            }
            for (; i <= depth - 4; i += 4)
                multiply_four_of_one(sum, &row, depth, &pixel);
            for (; i < depth; i++) {
                sum[0] += pixel[0] * row[0];
                sum[1] += pixel[0] * row[depth];
                row++;
                pixel++;
            }
            at[0] = cn_finish(to, sum[0], channel);
            at[1] = cn_finish(to, sum[1], channel + 1);
        }
        weight += 2 * depth;
        out += 2;
    }
    if (out_c & 1) {
        const int8_t *pixel = in;
        for (int32_t left = pixels; left > 0; left--) {
            int32_t sum = bias[out_c - 1];
            for (int32_t i = 0; i < depth; i++)
                sum += (pixel[i] + offset) * weight[i];
            *out = cn_finish(to, sum, out_c - 1);
            pixel += step;
            out += out_c;
        }
    }
}

void cn_convolve_1x1_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    if (layer->stride_h == 1 && layer->stride_w == 1) {
        multiply(layer, in, layer->out_h * layer->out_w, layer->in_c, out);
        return;
    }
    for (int32_t y = 0; y < layer->out_h; y++) {
        multiply(layer, in, layer->out_w, layer->stride_w * layer->in_c, out);
        in += layer->stride_h * layer->in_w * layer->in_c;
        out += layer->out_w * layer->out_c;
    }
}
