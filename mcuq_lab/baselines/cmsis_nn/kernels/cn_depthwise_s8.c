/*
 * Depthwise convolution, weights 1HWC. The 3x3 kernel takes four channels at a time, one word of
 * inputs against one word of weights; any other window takes channel after channel.
 */
#include "cn_layers.h"
#include "cn_support.h"

static inline int8_t finish(const cn_layer *layer, int32_t sum, int32_t channel)
{
    sum = cn_requantize(sum, layer->multiplier[channel], layer->shift[channel]);
    return cn_clamp(sum + layer->out_offset, layer->act_min, layer->act_max);
}

static inline int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* One output of one channel, the part of the window that lies inside the input. */
static int8_t one_output(const cn_layer *layer, const int8_t *in, int32_t base_y, int32_t base_x,
                         int32_t channel)
{
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
    return finish(layer, sum, channel);
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

void cn_depthwise_3x3_s8(const cn_layer *layer, const int8_t *in, int8_t *out)
{
    const int32_t in_h = layer->in_h, in_w = layer->in_w, channels = layer->in_c;
    const int32_t offset = layer->in_offset;

    for (int32_t out_y = 0; out_y < layer->out_h; out_y++) {
        const int32_t base_y = layer->stride_h * out_y - layer->pad_top;
        const int32_t first_y = base_y < 0 ? -base_y : 0;
        const int32_t last_y = smaller(3, in_h - base_y);
        for (int32_t out_x = 0; out_x < layer->out_w; out_x++) {
            const int32_t base_x = layer->stride_w * out_x - layer->pad_left;
            int32_t channel = 0;
            for (; channel + 4 <= channels; channel += 4) {
                int32_t sum_0 = layer->bias[channel], sum_1 = layer->bias[channel + 1];
                int32_t sum_2 = layer->bias[channel + 2], sum_3 = layer->bias[channel + 3];
                const int8_t *row = in + ((base_y + first_y) * in_w + base_x) * channels + channel;
                const int8_t *weights = layer->weight + first_y * 3 * channels + channel;
                for (int32_t ky = first_y; ky < last_y; ky++) {
                    for (int32_t kx = 0; kx < 3; kx++) {
                        if (base_x + kx < 0 || base_x + kx >= in_w)
                            continue;
                        const uint32_t a = cn_load_4(row + kx * channels);
                        const uint32_t w = cn_load_4(weights + kx * channels);
                        sum_0 += ((int8_t)a + offset) * (int8_t)w;
                        sum_1 += ((int8_t)(a >> 8) + offset) * (int8_t)(w >> 8);
                        sum_2 += ((int8_t)(a >> 16) + offset) * (int8_t)(w >> 16);
                        sum_3 += ((int8_t)(a >> 24) + offset) * (int8_t)(w >> 24);
                    }
                    row += in_w * channels;
                    weights += 3 * channels;
                }
                *out++ = finish(layer, sum_0, channel);
                *out++ = finish(layer, sum_1, channel + 1);
                *out++ = finish(layer, sum_2, channel + 2);
                *out++ = finish(layer, sum_3, channel + 3);
            }
            for (; channel < channels; channel++)
                *out++ = one_output(layer, in, base_y, base_x, channel);
        }
    }
}
