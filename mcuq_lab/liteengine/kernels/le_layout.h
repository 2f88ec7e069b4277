/* Flattening, concatenation, pixels that are left out: integers stay as they are, only their places
 * change. */
#ifndef LE_LAYOUT_H
#define LE_LAYOUT_H

#include <stdint.h>

#include "le_memory.h"

/* Pixels that may end inside a byte, to one run of fields. */
LE_INLINE void le_flatten_generic(const uint8_t *in, uint8_t *out, uint32_t pixels,
                                  uint32_t channels, unsigned storage) {
    uint32_t index = 0;
    for (uint32_t pixel = 0; pixel < pixels; ++pixel) {
        for (uint32_t channel = 0; channel < channels; ++channel) {
            le_append_field(out, index++, storage, le_get_field(in, channel, storage));
        }
        in += le_pixel_bytes(channels, storage);
    }
}

/* One operand of a concatenation: its channels go to the output's channels from `first` on. The
 * operands must come in ascending order. */
LE_INLINE void le_concat_generic(const uint8_t *in, uint8_t *out, uint32_t pixels,
                                 uint32_t in_channels, uint32_t out_channels, uint32_t first,
                                 unsigned storage) {
    const uint32_t in_bytes = le_pixel_bytes(in_channels, storage);
    const uint32_t out_bytes = le_pixel_bytes(out_channels, storage);
    for (uint32_t pixel = 0; pixel < pixels; ++pixel) {
        if (first * storage % 8 == 0) {
            le_copy(out + first * storage / 8, in, in_bytes);
        } else {
            for (uint32_t channel = 0; channel < in_channels; ++channel) {
                le_append_field(out, first + channel, storage,
                                le_get_field(in, channel, storage));
            }
        }
        in += in_bytes;
        out += out_bytes;
    }
}

/* Some pixels of some rows, side by side: `rows` of `columns` pixels, `step` and rows `row_step` bytes
 * apart, each of `pixel_bytes`, a constant, that are copied by words if they are such. */
LE_INLINE void le_subsample(const uint8_t *in, uint8_t *out, uint32_t rows, uint32_t columns,
                            uint32_t step, uint32_t row_step, unsigned pixel_bytes) {
    const unsigned unit = pixel_bytes % 4 == 0 ? 4 : 1;
    for (; rows > 0; --rows) {
        const uint8_t *pixel = in;
        for (uint32_t x = 0; x < columns; ++x) {
#pragma GCC unroll 8
            for (unsigned i = 0; i < pixel_bytes; i += unit) {
                if (unit == 4) {
                    le_store32(out + i, le_load32(pixel + i));
                } else {
                    out[i] = pixel[i];
                }
                LE_KEEP_LOOP(out);
            }
            out += pixel_bytes;
            pixel += step;
        }
        in += row_step;
    }
}

#endif
