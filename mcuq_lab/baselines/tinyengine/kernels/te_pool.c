/* Pools, one output at a time. */
#include "te_layers.h"

/* Input and output share scale and zero point; halves round away from zero. */
void te_average_pool(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels;
    const int32_t count = layer->kernel_h * layer->kernel_w;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int8_t *window =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * channels;
            for (int32_t channel = 0; channel < channels; channel++) {
                int32_t sum = 0;
                for (int32_t ky = 0; ky < layer->kernel_h; ky++)
                    for (int32_t kx = 0; kx < layer->kernel_w; kx++)
                        sum += window[(ky * layer->in_w + kx) * channels + channel];
                sum = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
                *out++ = cn_clamp(sum, layer->act_min, layer->act_max);
            }
        }
    }
}

void te_max_pool(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const int8_t *window =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * channels;
            for (int32_t channel = 0; channel < channels; channel++) {
                int32_t largest = layer->act_min;
                for (int32_t ky = 0; ky < layer->kernel_h; ky++)
                    for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
                        const int32_t v = window[(ky * layer->in_w + kx) * channels + channel];
                        largest = v > largest ? v : largest;
                    }
                *out++ = cn_clamp(largest, layer->act_min, layer->act_max);
            }
        }
    }
}
