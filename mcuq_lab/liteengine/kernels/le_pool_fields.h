/* Average pooling field by field: a quarter of the code of `le_pool_generic.h`, for small maps. */
#ifndef LE_POOL_FIELDS_H
#define LE_POOL_FIELDS_H

#include "le_pool_generic.h"

LE_INLINE void le_averagepool_fields(const le_pool_layer *layer, const uint8_t *in, uint8_t *out,
                                     unsigned in_storage, unsigned out_bits) {
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t in_bytes = le_pixel_bytes(layer->channels, in_storage);
    const uint32_t out_bytes = le_pixel_bytes(layer->channels, out_storage);
    for (uint32_t y = 0; y < layer->out_h; ++y) {
        for (uint32_t x = 0; x < layer->out_w; ++x) {
            for (uint32_t channel = 0; channel < layer->channels; ++channel) {
                uint32_t row = y * layer->stride_h * layer->in_w + x * layer->stride_w;
                int32_t sum = layer->requantize.start;
                for (uint32_t ky = layer->kernel_h; ky != 0; --ky) {
                    const uint8_t *pixel = in + row * in_bytes;
                    for (uint32_t kx = layer->kernel_w; kx != 0; --kx) {
                        sum += (int32_t)le_get_field(pixel, channel, in_storage);
                        pixel += in_bytes;
                        LE_KEEP_LOOP(kx);
                    }
                    row += layer->in_w;
                }
                le_append_field(out, channel, out_storage, le_average(layer, sum, out_bits));
            }
            out += out_bytes;
        }
    }
}

#endif
