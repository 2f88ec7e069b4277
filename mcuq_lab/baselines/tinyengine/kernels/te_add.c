/* Addition in single precision; halves round away from zero. */
#include "te_layers.h"

void te_add(const te_addition *layer, const int8_t *a, const int8_t *b, int8_t *out, int32_t size)
{
    const int32_t zero_a = layer->zero_a, zero_b = layer->zero_b;
    const float scale_a = layer->scale_a, scale_b = layer->scale_b, zero = layer->zero;
    for (int32_t i = 0; i < size; i++) {
        const float left = (float)(a[i] - zero_a) * scale_a;
        const float right = (float)(b[i] - zero_b) * scale_b;
        const float sum = left + right + zero;
        out[i] = te_saturate((int32_t)(sum + (sum < 0.0f ? -0.5f : 0.5f)));
    }
}
