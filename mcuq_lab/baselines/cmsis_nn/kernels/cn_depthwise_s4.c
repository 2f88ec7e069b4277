/*
 * Depthwise convolution with 4-bit weights: every window, 3x3 ones too, is widened to one column of int16,
 * then four channels and two taps at a time are paired for SMLAD. With an odd number of channels every
 * second tap starts in the middle of a byte.
 */
#include "cn_depthwise_column.h"
#include "cn_layers.h"
#include "cn_nibbles.h"
#include "cn_output.h"
#include "cn_support.h"

/* The last one to three channels of an odd number, weight by weight. */
static inline void multiply_odd_rest(const cn_layer *layer, const int16_t *column, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->in_c, taps = layer->kernel_h * layer->kernel_w;
    for (int32_t channel = channels & ~3; channel < channels; channel++) {
        int32_t sum = layer->bias[channel], nibble = channel;
        for (int32_t tap = 0; tap < taps; tap++, nibble += channels) {
            const int8_t w = layer->weight[nibble >> 1];
            sum += ((nibble & 1) ? cn_high_nibble(w) : cn_low_nibble(w)) *
                   column[tap * channels + channel];
        }
        out[channel] = cn_finish(to, sum, channel);
    }
}

/* The last two channels of an even number, which share their bytes. */
static inline void multiply_even_rest(const cn_layer *layer, const int16_t *column, int8_t *out)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->in_c, taps = layer->kernel_h * layer->kernel_w;
    const int32_t channel = channels - 2;
    const int8_t *row = layer->weight + (channel >> 1);
    int32_t sum_0 = layer->bias[channel], sum_1 = layer->bias[channel + 1];
    for (int32_t tap = 0; tap < taps; tap++) {
        const int8_t w = row[tap * (channels >> 1)];
        sum_0 += cn_low_nibble(w) * column[tap * channels + channel];
        sum_1 += cn_high_nibble(w) * column[tap * channels + channel + 1];
    }
    out[channel] = cn_finish(to, sum_0, channel);
    out[channel + 1] = cn_finish(to, sum_1, channel + 1);
}

/* All channels of one pixel. */
static inline void multiply_column(const cn_layer *layer, const int16_t *column, int8_t *out, int odd)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->in_c, taps = layer->kernel_h * layer->kernel_w;
    for (int32_t channel = 0; channel <= channels - 4; channel += 4) {
        const int32_t *const bias = layer->bias + channel;
        int32_t sum[4] = {bias[0], bias[1], bias[2], bias[3]};
        const int16_t *values = column + channel;
        const int8_t *row = layer->weight + (channel >> 1);
        for (int32_t pairs = taps >> 1; pairs > 0; pairs--) {
            const int8_t *const next = row + (channels >> 1);
            const cn_four w0 = cn_widen_nibbles(row);
            const cn_four w1 = odd ? cn_widen_nibbles_uneven(next) : cn_widen_nibbles(next);
            cn_multiply_two_taps(sum, values, channels, w0.even, w0.odd, w1.even, w1.odd);
            row += channels;
            values += 2 * channels;
        }
        if (taps & 1) {
            sum[0] += cn_low_nibble(row[0]) * values[0];
            sum[1] += cn_high_nibble(row[0]) * values[1];
            sum[2] += cn_low_nibble(row[1]) * values[2];
            sum[3] += cn_high_nibble(row[1]) * values[3];
        }
        for (int32_t i = 0; i < 4; i++)
            out[channel + i] = cn_finish(to, sum[i], channel + i);
    }
    if (odd)
        multiply_odd_rest(layer, column, out);
    else if (channels & 2)
        multiply_even_rest(layer, column, out);
}

void cn_depthwise_s4(const cn_layer *layer, const int8_t *in, int16_t *column, int8_t *out)
{
    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            cn_fill_column(layer, in, column, base_y, layer->stride_w * out_x - layer->pad_left);
            if (layer->in_c & 1)
                multiply_column(layer, column, out, 1);
            else
                multiply_column(layer, column, out, 0);
            out += layer->in_c;
        }
    }
}
