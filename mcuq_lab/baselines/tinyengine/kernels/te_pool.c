/* Pools, one channel of the whole map after the other. */
#include "te_layers.h"

/* Input and output share scale and zero point; halves round away from zero. */
void te_average_pool(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels, out_w = layer->out_w, in_w = layer->in_w;
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    const int32_t count = kernel_h * kernel_w;
    for (int32_t channel = 0; channel < channels; channel++) {
        for (int32_t y = 0; y < layer->out_h; y++) {
            for (int32_t x = 0; x < out_w; x++) {
                int32_t sum = 0;
                for (int32_t ky = 0; ky < kernel_h; ky++) {
                    const int32_t row = (y * layer->stride_h + ky) * in_w + x * layer->stride_w;
                    for (int32_t kx = 0; kx < kernel_w; kx++)
                        sum += in[(row + kx) * channels + channel];
                }
                sum = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
                out[(y * out_w + x) * channels + channel] =
                    cn_clamp(sum, layer->act_min, layer->act_max);
            }
        }
    }
}

void te_max_pool(const cn_pool *layer, const int8_t *in, int8_t *out)
{
    const int32_t channels = layer->channels, out_w = layer->out_w, in_w = layer->in_w;
    const int32_t kernel_h = layer->kernel_h, kernel_w = layer->kernel_w;
    for (int32_t channel = 0; channel < channels; channel++) {
        for (int32_t y = 0; y < layer->out_h; y++) {
            for (int32_t x = 0; x < out_w; x++) {
                int32_t largest = layer->act_min;
                for (int32_t ky = 0; ky < kernel_h; ky++) {
                    const int32_t row = (y * layer->stride_h + ky) * in_w + x * layer->stride_w;
                    for (int32_t kx = 0; kx < kernel_w; kx++) {
                        const int32_t value = in[(row + kx) * channels + channel];
                        largest = value > largest ? value : largest;
                    }
                }
                out[(y * out_w + x) * channels + channel] =
                    cn_clamp(largest, layer->act_min, layer->act_max);
            }
        }
    }
}
