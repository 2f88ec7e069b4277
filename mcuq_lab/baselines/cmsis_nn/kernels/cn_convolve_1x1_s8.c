/*
 * 1x1 convolution straight from the int8 input, without im2col: tiles of two pixels by two output
 * channels. The input's offset is not added to every input but, multiplied with the sum of the
 * weights, once to every accumulator.
 */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

static int32_t sum_of(const int8_t *row, int32_t depth)
{
    const uint32_t ones = 0x00010001u;
    int32_t sum = 0;
    for (; depth >= 4; depth -= 4) {
        const uint32_t four = cn_load_4(row);
        sum = cn_smlad(cn_sxtb16(four), ones, sum);
        sum = cn_smlad(cn_sxtb16_ror8(four), ones, sum);
        row += 4;
    }
    while (depth-- > 0)
        sum += *row++;
    return sum;
}

/*
 * Two channels of `pixels` pixels that lie `step` values apart. Not inlined: its inner loop needs
 * every register.
 */
__attribute__((noinline)) static void multiply_rows(const cn_layer *layer, const int8_t *in, int32_t pixels, int32_t step,
                          int32_t channel, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t depth = layer->in_c, out_c = layer->out_c;
    const int8_t *const weight_0 = layer->weight + channel * depth;
    const int8_t *const weight_1 = weight_0 + depth;
    const int32_t start_0 = layer->bias[channel] + layer->in_offset * sum_of(weight_0, depth);
    const int32_t start_1 = layer->bias[channel + 1] + layer->in_offset * sum_of(weight_1, depth);
    const int32_t multiplier_0 = layer->multiplier[channel], shift_0 = layer->shift[channel];
    const int32_t multiplier_1 = layer->multiplier[channel + 1];
    const int32_t shift_1 = layer->shift[channel + 1];

    for (; pixels >= 2; pixels -= 2) {
        const int8_t *row_0 = weight_0, *row_1 = weight_1;
        const int8_t *pixel_0 = in, *pixel_1 = in + step;
        int32_t sum_00 = start_0, sum_01 = start_1, sum_10 = start_0, sum_11 = start_1;
        const int8_t *const end = row_0 + (depth & ~3);
        while (row_0 != end) {
            const uint32_t w0 = cn_load_4(row_0), w1 = cn_load_4(row_1);
            const uint32_t w0_even = cn_sxtb16(w0), w0_odd = cn_sxtb16_ror8(w0);
            const uint32_t w1_even = cn_sxtb16(w1), w1_odd = cn_sxtb16_ror8(w1);
            uint32_t a = cn_load_4(pixel_0);
            uint32_t even = cn_sxtb16(a), odd = cn_sxtb16_ror8(a);
            sum_00 = cn_smlad(w0_even, even, sum_00);
            sum_01 = cn_smlad(w1_even, even, sum_01);
            sum_00 = cn_smlad(w0_odd, odd, sum_00);
            sum_01 = cn_smlad(w1_odd, odd, sum_01);
            a = cn_load_4(pixel_1);
            even = cn_sxtb16(a);
            odd = cn_sxtb16_ror8(a);
            sum_10 = cn_smlad(w0_even, even, sum_10);
            sum_11 = cn_smlad(w1_even, even, sum_11);
            sum_10 = cn_smlad(w0_odd, odd, sum_10);
            sum_11 = cn_smlad(w1_odd, odd, sum_11);
            row_0 += 4;
            row_1 += 4;
            pixel_0 += 4;
            pixel_1 += 4;
        }
        for (int32_t rest = depth & 3; rest > 0; rest--) {
            sum_00 += *row_0 * *pixel_0;
            sum_01 += *row_1 * *pixel_0++;
            sum_10 += *row_0++ * *pixel_1;
            sum_11 += *row_1++ * *pixel_1++;
        }
        out[0] = cn_scale(to, sum_00, multiplier_0, shift_0);
        out[1] = cn_scale(to, sum_01, multiplier_1, shift_1);
        out[out_c] = cn_scale(to, sum_10, multiplier_0, shift_0);
        out[out_c + 1] = cn_scale(to, sum_11, multiplier_1, shift_1);
        in += 2 * step;
        out += 2 * out_c;
    }
    if (pixels) {
        int32_t sum_0 = start_0, sum_1 = start_1;
        for (int32_t i = 0; i < depth; i++) {
            sum_0 += weight_0[i] * in[i];
            sum_1 += weight_1[i] * in[i];
        }
        out[0] = cn_scale(to, sum_0, multiplier_0, shift_0);
        out[1] = cn_scale(to, sum_1, multiplier_1, shift_1);
    }
}

static void multiply_row(const cn_layer *layer, const int8_t *in, int32_t pixels, int32_t step,
                         int32_t channel, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t depth = layer->in_c;
    const int8_t *const weight = layer->weight + channel * depth;
    const int32_t start = layer->bias[channel] + layer->in_offset * sum_of(weight, depth);
    for (; pixels > 0; pixels--) {
        int32_t sum = start;
        for (int32_t i = 0; i < depth; i++)
            sum += weight[i] * in[i];
        *out = cn_finish(to, sum, channel);
        in += step;
        out += layer->out_c;
    }
}

static void multiply(const cn_layer *layer, const int8_t *in, int32_t pixels, int32_t step,
                     int8_t *out)
{
    int32_t channel = 0;
    for (; channel + 2 <= layer->out_c; channel += 2)
        multiply_rows(layer, in, pixels, step, channel, out + channel);
    if (channel < layer->out_c)
        multiply_row(layer, in, pixels, step, channel, out + channel);
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
