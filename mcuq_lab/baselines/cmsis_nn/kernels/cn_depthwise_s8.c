/*
 * Depthwise convolution, weights 1HWC. The 3x3 kernel, padded by one at most, takes four channels at a
 * time, one word of inputs against one word of weights. Any other window is widened to one column of
 * int16, then four channels and two taps at a time are paired for SMLAD.
 */
#include "cn_depthwise_column.h"
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

/* One tap of four channels, odd ones first. */
static inline void accumulate_4(int32_t sum[4], const int8_t *in, const int8_t *weight,
                                uint32_t offsets)
{
    const uint32_t a = dsp_load(in), w = dsp_load(weight);
    const uint32_t a_odd = cn_sxtab16_ror8(offsets, a), w_odd = cn_sxtb16_ror8(w);
    sum[1] = cn_multiply_low(a_odd, w_odd, sum[1]);
    const uint32_t a_even = cn_sxtab16(offsets, a);
    sum[3] = cn_multiply_high(a_odd, w_odd, sum[3]);
    const uint32_t w_even = cn_sxtb16(w);
    sum[0] = cn_multiply_low(a_even, w_even, sum[0]);
    sum[2] = cn_multiply_high(a_even, w_even, sum[2]);
}

CN_ALONE void cn_depthwise_3x3_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, channels = layer->in_c;
    const int32_t out_h = layer->out_h, out_w = layer->out_w;
    const int32_t stride_h = layer->stride_h, stride_w = layer->stride_w;
    const int32_t offset = layer->in_offset;
    const uint32_t offsets = cn_both(offset);
    const int32_t *const bias = layer->bias;
    const int8_t *const weights = layer->weight;
    const cn_output to = cn_output_of(layer);
    const int32_t row_step = in_w * channels;

    for (int32_t out_y = 0, base_y = -layer->pad_top; out_y < out_h; out_y++, base_y += stride_h) {
        const int32_t first_y = cn_larger(0, -base_y);
        int32_t base_x = -layer->pad_left;
        for (int32_t out_x = 0; out_x < out_w; out_x++, base_x += stride_w) {
            int32_t channel = 0;
            for (; channel <= channels - 4; channel += 4) {
                int32_t sum[4] = {bias[channel], bias[channel + 1], bias[channel + 2],
                                  bias[channel + 3]};
                const int8_t *row = in + (base_y + first_y) * row_step + base_x * channels + channel;
                const int8_t *weight = weights + first_y * 3 * channels + channel;
                for (int32_t ky = first_y; ky < cn_smaller(3, in_h - base_y); ky++) {
                    if (base_x >= 0)
                        accumulate_4(sum, row, weight, offsets);
                    accumulate_4(sum, row + channels, weight + channels, offsets);
                    if (in_w - base_x >= 3)
                        accumulate_4(sum, row + 2 * channels, weight + 2 * channels, offsets);
                    row += row_step;
                    weight += 3 * channels;
                }
                for (int32_t i = 0; i < 4; i++)
                    sum[i] = cn_requantize(sum[i], to.multiplier[channel + i],
                                           to.shift[channel + i]);
                for (int32_t i = 0; i < 4; i++)
                    sum[i] = cn_clamp(sum[i] + to.offset, to.min, to.max);
                for (int32_t i = 0; i < 4; i++)
                    *out++ = (int8_t)sum[i];
            }
            for (; channel < channels; channel++) {
                int32_t sum = bias[channel];
                const int8_t *row = in + (base_y + first_y) * row_step + base_x * channels + channel;
                const int8_t *weight = weights + first_y * 3 * channels + channel;
                for (int32_t ky = first_y; ky < cn_smaller(3, in_h - base_y); ky++) {
                    if (base_x >= 0)
                        sum += (row[0] + offset) * weight[0];
                    sum += (row[channels] + offset) * weight[channels];
                    if (in_w - base_x >= 3)
                        sum += (row[2 * channels] + offset) * weight[2 * channels];
                    row += row_step;
                    weight += 3 * channels;
                }
                *out++ = cn_finish(to, sum, channel);
            }
        }
    }
}

/* All channels of one pixel. */
static inline void multiply_column(const cn_layer *layer, const int16_t *column, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->in_c, taps = layer->kernel_h * layer->kernel_w;
    int32_t channel = 0;
    for (; channel <= channels - 4; channel += 4) {
        const int32_t *const bias = layer->bias + channel;
        int32_t sum[4] = {bias[0], bias[1], bias[2], bias[3]};
        const int16_t *values = column + channel;
        const int8_t *row = layer->weight + channel;
        for (int32_t pairs = taps >> 1; pairs > 0; pairs--) {
            const uint32_t w0 = dsp_load(row), w1 = dsp_load(row + channels);
            cn_multiply_two_taps(sum, values, channels, cn_sxtb16(w0), cn_sxtb16(cn_rotate_8(w0)),
                                 cn_sxtb16(w1), cn_sxtb16(cn_rotate_8(w1)));
            row += 2 * channels;
            values += 2 * channels;
        }
        if (taps & 1)
            for (int32_t i = 0; i < 4; i++)
                sum[i] += row[i] * values[i];
        for (int32_t i = 0; i < 4; i++)
            out[channel + i] = cn_finish(to, sum[i], channel + i);
    }
    for (; channel < channels; channel++) {
        int32_t sum = layer->bias[channel];
        for (int32_t tap = 0; tap < taps; tap++)
            sum += layer->weight[tap * channels + channel] * column[tap * channels + channel];
        out[channel] = cn_finish(to, sum, channel);
    }
}

void cn_depthwise_s8(const cn_layer *layer, const int8_t *in, int16_t *column, int8_t *out)
{
    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            cn_fill_column(layer, in, column, base_y, layer->stride_w * out_x - layer->pad_left);
            multiply_column(layer, column, out);
            out += layer->in_c;
        }
    }
}
