/*
 * Addition, pooling and copies. The library has none of them for fields below eight bits: these are
 * the plain loops, field by field, with the output's bytes gathered in a register.
 */
#include "cx_small_layers.h"
#include "cx_output.h"
#include "cx_support.h"

static inline uint32_t saturate(int32_t value, int32_t bits)
{
    const int32_t most = (1 << bits) - 1;
    return (uint32_t)(value < 0 ? 0 : value > most ? most : value);
}

static inline int32_t smaller(int32_t a, int32_t b)
{
    return a < b ? a : b;
}

/* Inlined with constant widths where it matters. */
static inline __attribute__((always_inline)) void add_fields(const cx_addition *layer,
                                                             const uint8_t *a, int32_t a_bits,
                                                             const uint8_t *b, int32_t b_bits,
                                                             uint8_t *out, int32_t out_bits)
{
    const int32_t multiplier_a = layer->multiplier_a, multiplier_b = layer->multiplier_b;
    const int32_t offset = layer->offset, shift = layer->shift, channels = layer->channels;
    for (int32_t pixel = 0; pixel < layer->pixels; pixel++) {
        for (int32_t c = 0; c < channels;) {
            const int32_t last = smaller(c + 8 / out_bits, channels);
            uint32_t fields = 0;
            for (int32_t bit = 0; c < last; c++, bit += out_bits) {
                const int32_t left = (int32_t)cx_field(a, c, a_bits) * multiplier_a;
                const int32_t right = (int32_t)cx_field(b, c, b_bits) * multiplier_b;
                fields |= saturate((left + right + offset) >> shift, out_bits) << bit;
            }
            out[((c - 1) * out_bits) >> 3] = (uint8_t)fields;
        }
        a += layer->a_pixel_bytes;
        b += layer->b_pixel_bytes;
        out += layer->out_pixel_bytes;
    }
}

void cx_add(const cx_addition *layer, const uint8_t *a, int32_t a_bits, const uint8_t *b,
            int32_t b_bits, uint8_t *out, int32_t out_bits)
{
    if (a_bits == 8 && b_bits == 8 && out_bits == 8)
        add_fields(layer, a, 8, b, 8, out, 8);
    else if (a_bits == 4 && b_bits == 4 && out_bits == 4)
        add_fields(layer, a, 4, b, 4, out, 4);
    else
        add_fields(layer, a, a_bits, b, b_bits, out, out_bits);
}

void cx_average_pool(const cx_pool *layer, const uint8_t *in, int32_t in_bits, uint8_t *out,
                     int32_t out_bits)
{
    const int32_t channels = layer->channels;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const uint8_t *window =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) *
                         layer->in_pixel_bytes;
            uint32_t fields = 0;
            for (int32_t c = 0, bit = 0; c < channels; c++) {
                int32_t sum = 0;
                for (int32_t ky = 0; ky < layer->kernel_h; ky++)
                    for (int32_t kx = 0; kx < layer->kernel_w; kx++)
                        sum += (int32_t)cx_field(
                            window + (ky * layer->in_w + kx) * layer->in_pixel_bytes, c, in_bits);
                sum = cx_scale(sum, layer->multiplier, layer->offset, layer->pre_shift,
                               layer->shift);
                fields |= saturate(sum, out_bits) << bit;
                bit += out_bits;
                if (bit == 8 || c + 1 == channels) {
                    *out++ = (uint8_t)fields;
                    fields = 0;
                    bit = 0;
                }
            }
        }
    }
}

void cx_max_pool(const cx_pool *layer, const uint8_t *in, uint8_t *out, int32_t bits)
{
    const int32_t channels = layer->channels;
    for (int32_t y = 0; y < layer->out_h; y++) {
        for (int32_t x = 0; x < layer->out_w; x++) {
            const uint8_t *window =
                in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) *
                         layer->in_pixel_bytes;
            uint32_t fields = 0;
            for (int32_t c = 0, bit = 0; c < channels; c++) {
                uint32_t largest = 0;
                for (int32_t ky = 0; ky < layer->kernel_h; ky++)
                    for (int32_t kx = 0; kx < layer->kernel_w; kx++) {
                        const uint32_t value = cx_field(
                            window + (ky * layer->in_w + kx) * layer->in_pixel_bytes, c, bits);
                        largest = value > largest ? value : largest;
                    }
                fields |= largest << bit;
                bit += bits;
                if (bit == 8 || c + 1 == channels) {
                    *out++ = (uint8_t)fields;
                    fields = 0;
                    bit = 0;
                }
            }
        }
    }
}

void cx_copy(const uint8_t *in, int32_t in_pixel_bytes, uint8_t *out, int32_t out_pixel_bytes,
             int32_t pixels, int32_t count, int32_t first, int32_t bits)
{
    for (int32_t i = 0; i < pixels; i++) {
        if (((first | count) * bits & 7) == 0) {
            __builtin_memcpy(out + first * bits / 8, in, (size_t)(count * bits / 8));
        } else {
            for (int32_t c = 0; c < count; c++) {
                const int32_t bit = (first + c) * bits;
                uint8_t *const byte = out + (bit >> 3);
                const uint32_t below = *byte & ((1u << (bit & 7)) - 1u); /* clears what follows */
                *byte = (uint8_t)(below | cx_field(in, c, bits) << (bit & 7));
            }
        }
        in += in_pixel_bytes;
        out += out_pixel_bytes;
    }
}
