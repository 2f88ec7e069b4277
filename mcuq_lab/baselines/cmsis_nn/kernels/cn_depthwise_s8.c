/*
 * Depthwise convolution, weights 1HWC. The 3x3 kernel takes four channels at a time, one word of
 * inputs against one word of weights; any other window takes channel after channel.
 */
#include "cn_layers.h"
#include "cn_output.h"
#include "cn_support.h"

static inline int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* One output of one channel, the part of the window that lies inside the input. */
static int8_t one_output(const cn_layer *layer, const int8_t *in, int32_t base_y, int32_t base_x,
                         int32_t channel)
{
    const cn_output to = cn_output_of(layer);
    const int32_t channels = layer->in_c;
    int32_t sum = layer->bias[channel];
    for (int32_t ky = 0; ky < layer->kernel_h; ky++) {
        const int32_t y = base_y + ky;
        if (y < 0 || y >= layer->in_h)
            continue;
        for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
            const int32_t x = base_x + kx;
            if (x < 0 || x >= layer->in_w)
                continue;
            const int32_t value = in[(y * layer->in_w + x) * channels + channel];
            const int32_t weight = layer->weight[(ky * layer->kernel_w + kx) * channels + channel];
            sum += (value + layer->in_offset) * weight;
        }
    }
    return cn_finish(to, sum, channel);
}

void cn_depthwise_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
            const int32_t base_x = layer->stride_w * out_x - layer->pad_left;
            for (int32_t channel = 0; channel < layer->in_c; channel++)
                *out++ = one_output(layer, in, base_y, base_x, channel);
        }
    }
}

/* One tap of four channels. */
static inline void accumulate_4(int32_t sum[4], const int8_t *in, const int8_t *weight,
                                int32_t offset)
{
    const uint32_t a = cn_load_4(in);
    const uint32_t w = cn_load_4(weight);
    sum[0] += (offset + (int8_t)a) * (int8_t)w;
    sum[1] += cn_sxtab_byte_1(offset, a) * (int8_t)(w >> 8);
    sum[2] += cn_sxtab_byte_2(offset, a) * (int8_t)(w >> 16);
    sum[3] += cn_sxtab_byte_3(offset, a) * (int8_t)(w >> 24);
}

void cn_depthwise_3x3_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, channels = layer->in_c;
    const int32_t offset = layer->in_offset;
    const int32_t *const bias = layer->bias;
    const cn_output to = cn_output_of(layer);
    const int32_t row_step = in_w * channels;

    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
        const int32_t first_y = base_y < 0 ? -base_y : 0;
        const int32_t last_y = smaller(3, in_h - base_y);
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            const int32_t base_x = layer->stride_w * out_x - layer->pad_left;
            const int32_t left = base_x >= 0, middle = base_x + 1 < in_w, right = base_x + 2 < in_w;
            int32_t channel = 0;
            for (; channel + 4 <= channels; channel += 4) {
                int32_t sum[4] = {bias[channel], bias[channel + 1], bias[channel + 2],
                                  bias[channel + 3]};
                const int8_t *row = in + ((base_y + first_y) * in_w + base_x) * channels + channel;
                const int8_t *weight = layer->weight + first_y * 3 * channels + channel;
                for (int32_t ky = first_y; ky < last_y; ky++) {
                    if (left)
                        accumulate_4(sum, row, weight, offset);
                    if (middle)
                        accumulate_4(sum, row + channels, weight + channels, offset);
                    if (right)
                        accumulate_4(sum, row + 2 * channels, weight + 2 * channels, offset);
                    row += row_step;
                    weight += 3 * channels;
                }
                for (int32_t i = 0; i < 4; i++)
                    *out++ = cn_finish(to, sum[i], channel + i);
            }
            for (; channel < channels; channel++)
                *out++ = one_output(layer, in, base_y, base_x, channel);
        }
    }
}
