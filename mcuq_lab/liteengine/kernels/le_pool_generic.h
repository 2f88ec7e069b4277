/* Average and maximum pooling over any window, without padding.
 *
 * Both may write their output over their input where the output's pixels are not larger: an output
 * pixel never lies behind the first input pixel of its own window, and channels are read before
 * they are written.
 */
#ifndef LE_POOL_GENERIC_H
#define LE_POOL_GENERIC_H

#include <stdint.h>

#include "le_memory.h"
#include "le_requantize.h"

typedef struct {
    uint16_t in_w, channels;
    uint16_t out_h, out_w;
    uint16_t kernel_h, kernel_w;
    uint8_t stride_h, stride_w;
    uint8_t pre_shift, shift; /* of an average */
    le_requantize requantize; /* of an average */
} le_pool_layer;

_Static_assert(sizeof(le_pool_layer) == 28, "as counted for flash");

/* Pixels of 8-bit fields whose sum fits into a lane of 16 bits. */
enum { LE_LANE_PIXELS = 257 };

/* Adds four channels of `count` pixels in a row to the lanes (c0, c2) and (c1, c3). */
LE_INLINE const uint8_t *le_sum_row(uint32_t lanes[2], const uint8_t *pixel, uint32_t count,
                                    uint32_t pixel_bytes, unsigned storage) {
    uint32_t even = lanes[0], odd = lanes[1];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < count; ++i) {
        uint32_t quad = le_load_quad(pixel, storage);
        if (storage == 8) {
            even = le_uxtab16(even, quad, 0);
            odd = le_uxtab16(odd, quad, 8);
        } else {
            even += le_even(quad, storage);
            odd += le_odd(quad, storage);
        }
        pixel += pixel_bytes;
    }
    lanes[0] = even;
    lanes[1] = odd;
    return pixel;
}

/* Adds four channels of a window to `sums`; `corner` is the first pixel's quad. */
LE_INLINE void le_sum_window(int32_t sums[4], const uint8_t *corner, uint32_t rows,
                             uint32_t columns, uint32_t row_bytes, uint32_t pixel_bytes,
                             unsigned storage) {
    uint32_t lanes[2] = {0, 0};
    uint32_t room = LE_LANE_PIXELS;
    uint32_t left = columns;
    const uint8_t *pixel = corner;
    while (rows > 0) {
        uint32_t count = left < room ? left : room;
        pixel = le_sum_row(lanes, pixel, count, pixel_bytes, storage);
        left -= count;
        room -= count;
        if (left == 0) {
            rows -= 1;
            left = columns;
            corner += row_bytes;
            pixel = corner;
        }
        if (room == 0 || rows == 0) {
            room = LE_LANE_PIXELS;
            sums[0] += (int32_t)(lanes[0] & 0xFFFFu);
            sums[1] += (int32_t)(lanes[1] & 0xFFFFu);
            sums[2] += (int32_t)(lanes[0] >> 16);
            sums[3] += (int32_t)(lanes[1] >> 16);
            lanes[0] = lanes[1] = 0;
        }
    }
}

LE_INLINE uint32_t le_average(const le_pool_layer *layer, int32_t sum, unsigned out_bits) {
    return le_requantize_sum(sum, &layer->requantize, layer->pre_shift, layer->shift, out_bits);
}

LE_INLINE void le_averagepool_generic(const le_pool_layer *layer, const uint8_t *in, uint8_t *out,
                                      unsigned in_storage, unsigned out_bits) {
    const unsigned out_storage = le_storage_bits(out_bits);
    const uint32_t in_bytes = le_pixel_bytes(layer->channels, in_storage);
    const uint32_t out_bytes = le_pixel_bytes(layer->channels, out_storage);
    const uint32_t row_bytes = layer->in_w * in_bytes;
    const int32_t start = layer->requantize.start;
    /* A window as wide as its input is one long row. */
    const int global = layer->kernel_w == layer->in_w;
    const uint32_t rows = global ? 1 : layer->kernel_h;
    const uint32_t columns = global ? (uint32_t)layer->kernel_h * layer->in_w : layer->kernel_w;
    for (uint32_t y = 0; y < layer->out_h; ++y) {
        for (uint32_t x = 0; x < layer->out_w; ++x) {
            const uint8_t *corner =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * in_bytes;
            uint32_t channel = 0;
            for (; channel + 4 <= layer->channels; channel += 4) {
                int32_t sums[4] = {start, start, start, start};
                le_sum_window(sums, corner + channel * in_storage / 8, rows, columns, row_bytes,
                              in_bytes, in_storage);
                le_store_quad(out + channel * out_storage / 8, out_storage,
                              le_average(layer, sums[0], out_bits),
                              le_average(layer, sums[1], out_bits),
                              le_average(layer, sums[2], out_bits),
                              le_average(layer, sums[3], out_bits));
            }
            uint32_t fields = 0; /* at most three, written at once: reading ends first */
            uint32_t rest = layer->channels - channel;
            for (uint32_t k = 0; k < rest; ++k) {
                int32_t sum = start;
                for (uint32_t ky = 0; ky < layer->kernel_h; ++ky) {
                    const uint8_t *pixel = corner + ky * row_bytes;
                    for (uint32_t kx = 0; kx < layer->kernel_w; ++kx) {
                        sum += (int32_t)le_get_field(pixel, channel + k, in_storage);
                        pixel += in_bytes;
                    }
                }
                fields |= le_average(layer, sum, out_bits) << k * out_storage;
            }
            le_store_fields(out + channel * out_storage / 8, out_storage, fields, rest);
            out += out_bytes;
        }
    }
}

/* The larger of each pair of fields in two words. A field keeps its place in its byte, so bytes
 * compare as fields do. */
LE_INLINE uint32_t le_max_fields(uint32_t a, uint32_t b, unsigned storage) {
    uint32_t mask = ((1u << storage) - 1u) * 0x01010101u;
    uint32_t result = 0;
    for (unsigned lsb = 0; lsb < 8; lsb += storage) {
        result |= le_umax8(a & (mask << lsb), b & (mask << lsb));
    }
    return result;
}

LE_INLINE void le_maxpool_generic(const le_pool_layer *layer, const uint8_t *in, uint8_t *out,
                                  unsigned storage) {
    const uint32_t pixel_bytes = le_pixel_bytes(layer->channels, storage);
    for (uint32_t y = 0; y < layer->out_h; ++y) {
        for (uint32_t x = 0; x < layer->out_w; ++x) {
            const uint8_t *corner =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * pixel_bytes;
            for (uint32_t byte = 0; byte < pixel_bytes;) {
                const unsigned word = pixel_bytes - byte >= 4;
                uint32_t largest = 0;
                for (uint32_t ky = 0; ky < layer->kernel_h; ++ky) {
                    const uint8_t *pixel = corner + ky * layer->in_w * pixel_bytes + byte;
                    for (uint32_t kx = 0; kx < layer->kernel_w; ++kx) {
                        uint32_t fields = word ? le_load32(pixel) : *pixel;
                        largest = le_max_fields(largest, fields, storage);
                        pixel += pixel_bytes;
                    }
                }
                if (word) {
                    le_store32(out + byte, largest);
                    byte += 4;
                } else {
                    out[byte] = (uint8_t)largest;
                    byte += 1;
                }
            }
            out += pixel_bytes;
        }
    }
}

#endif
