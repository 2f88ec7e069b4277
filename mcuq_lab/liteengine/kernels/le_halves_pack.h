/* Packing windows of pixels into halves, and unpacking the weights of four words of channels.
 *
 * All parameters behind the layer are constants after inlining.
 */
#ifndef LE_HALVES_PACK_H
#define LE_HALVES_PACK_H

#include "le_halves.h"

/* Packs the channels of one (two) pixels into every second word from `to` on; returns the word
 * behind. Full groups of 32 bits give the pairs (j, j + half a group), the rest neighbours.
 * The halves are added to `sum`, which costs nothing where nobody reads it. */
LE_INLINE uint32_t *le_halves_pack_pixel(uint32_t *to, const uint8_t *const *pixel,
                                         uint32_t channels, unsigned storage, unsigned pixels,
                                         unsigned a_shift, unsigned toggle, int32_t *sum) {
    const unsigned group = 32 / storage;
    const uint32_t flip = toggle ? 0x80008000u : 0u;
    /* The top bits of the fields that come to lie there, all in one. */
    const uint32_t flips = toggle ? (1u << (15 - a_shift)) * (0xFFFFFFFFu / ((1u << storage) - 1u)) : 0u;
    uint32_t mask = ((1u << storage) - 1u) * 0x00010001u;
    const uint8_t *from[2] = {pixel[0], pixel[pixels - 1]};
    const uint8_t *whole = from[0] + channels / group * 4;
    const uint32_t rest = channels % group;
    LE_IN_REGISTER(mask);
    while (from[0] != whole) {
        uint32_t word0 = le_load32(from[0]);
        uint32_t word1 = pixels == 2 ? le_load32(from[1]) ^ flips : 0;
        from[0] += 4;
        from[1] += 4;
#pragma GCC unroll 8
        for (unsigned j = 0; j < group / 2; ++j) {
            uint32_t halves = (word0 >> (j * storage)) & mask;
            if (pixels == 2) {
                halves |= ((word1 >> (j * storage)) & mask) << a_shift;
            }
            *sum = le_smlad(halves, 0x00010001u, *sum);
            to[2 * j] = halves;
        }
        to += group;
    }
    for (uint32_t channel = 0; channel < rest; channel += 2) {
        uint32_t halves = 0;
#pragma GCC unroll 2
        for (unsigned i = 0; i < pixels; ++i) {
            uint32_t low = le_get_field(from[i], channel, storage);
            uint32_t high = channel + 1 < rest ? le_get_field(from[i], channel + 1, storage) : 0;
            halves |= (low | (high << 16)) << (i * a_shift);
        }
        *sum = le_smlad(halves, 0x00010001u, *sum);
        *to = halves ^ flip;
        to += 2;
    }
    return to;
}

/* As le_halves_pack, of windows of a single pixel, all inside the input. */
LE_INLINE void le_halves_pack_points(uint32_t *group, uint32_t pixel, const uint8_t *in,
                                     const le_halves_layer *layer, unsigned storage,
                                     unsigned pixels, unsigned a_shift, unsigned toggle,
                                     unsigned bytes) {
    const uint32_t pixel_bytes = le_pixel_bytes(layer->in_c, storage);
    const uint32_t last = (uint32_t)layer->out_h * layer->out_w - 1;
    for (unsigned word = 0; word < 2; ++word) {
        const uint8_t *from[2];
        int32_t sum = 0;
#pragma GCC unroll 2
        for (unsigned i = 0; i < pixels; ++i) {
            uint32_t at = pixel + word * pixels + i;
            at = at < last ? at : last;
            uint32_t row = at / layer->out_w;
            uint32_t column = at - row * layer->out_w;
            from[i] = in + (row * layer->stride_h * layer->in_w + column * layer->stride_w) *
                               pixel_bytes;
        }
        le_halves_pack_pixel(group + word, from, layer->in_c, storage, pixels,
                             a_shift, toggle, &sum);
        if (bytes) {
            group[2u * layer->pairs + word] = 0u - 128u * (uint32_t)sum;
        }
    }
}

/* Packs the windows of output pixels `pixel` and up into one group. For byte pairs, their sums
 * times -2^7 come last. */
LE_INLINE void le_halves_pack(uint32_t *group, uint32_t pixel, const uint8_t *in,
                              const uint8_t *pad, const le_halves_layer *layer, unsigned storage,
                              unsigned pixels, unsigned a_shift, unsigned toggle,
                              unsigned bytes) {
    if (layer->points) {
        le_halves_pack_points(group, pixel, in, layer, storage, pixels, a_shift, toggle, bytes);
        return;
    }
    const uint32_t channels = layer->in_c;
    const uint32_t pixel_bytes = le_pixel_bytes(channels, storage);
    const uint32_t row_bytes = layer->in_w * pixel_bytes;
    const uint32_t last = (uint32_t)layer->out_h * layer->out_w - 1;
    /* Pixels that are whole words lie side by side like the channels of one pixel. */
    const int joined = layer->kernel_w == 1 || channels % (32 / storage) == 0;
    for (unsigned word = 0; word < 2; ++word) {
        uint32_t *to = group + word;
        int32_t sum = 0;
        uint32_t top[2], left[2]; /* of the windows in the input; wrap where they lie outside */
        int inside = 1;           /* whether no window leaves its row on either side          */
#pragma GCC unroll 2
        for (unsigned i = 0; i < pixels; ++i) {
            uint32_t at = pixel + word * pixels + i;
            at = at < last ? at : last;
            uint32_t row = at / layer->out_w;
            top[i] = row * layer->stride_h - layer->pad_top;
            left[i] = (at - row * layer->out_w) * layer->stride_w - layer->pad_left;
            inside &= left[i] <= layer->in_w && left[i] + layer->kernel_w <= layer->in_w;
            inside &= top[i] <= layer->in_h && top[i] + layer->kernel_h <= layer->in_h;
        }
        const uint32_t columns = inside && joined ? 1 : layer->kernel_w;
        const uint32_t run = inside && joined ? channels * layer->kernel_w : channels;
        for (uint32_t ky = 0; ky < layer->kernel_h; ++ky) {
            for (uint32_t kx = 0; kx < columns; ++kx) {
                const uint8_t *from[2];
#pragma GCC unroll 2
                for (unsigned i = 0; i < pixels; ++i) {
                    uint32_t y = top[i] + ky, x = left[i] + kx;
                    from[i] = y < layer->in_h && x < layer->in_w
                                  ? in + y * row_bytes + x * pixel_bytes
                                  : pad;
                }
                to = le_halves_pack_pixel(to, from, run, storage, pixels, a_shift, toggle, &sum);
            }
        }
        if (bytes) {
            group[2u * layer->pairs + word] = 0u - 128u * (uint32_t)sum;
        }
    }
}

/* Field `k` of all lanes of a run of words, whose lanes of `lane` bits are streams of fields; `mask`
 * is that of field 0. */
LE_INLINE uint32_t le_halves_stream(const uint32_t *run, unsigned k, unsigned bits, uint32_t mask,
                                    unsigned lane) {
    unsigned word = k * bits / lane, lsb = k * bits % lane;
    if (lsb + bits <= lane) {
        return (run[word] >> lsb) & mask;
    }
    unsigned low = lane - lsb; /* bits in the first word */
    uint32_t low_mask = ((1u << low) - 1u) * (lane == 8 ? 0x01010101u : 0x00010001u);
    return ((run[word] >> lsb) & low_mask) | ((run[word + 1] << low) & (mask & ~low_mask));
}

/* Whether a half has two channels of 2 bits at a distance that lets one mask take out both. */
LE_INLINE int le_halves_joint(unsigned w_bits, unsigned channels, unsigned w_shift) {
    return w_bits == 2 && channels == 2 && 6 <= w_shift && w_shift <= 8;
}

/* Fields w + w' 2^w_shift number `k` of a word of joint halves. Of the four in a half of 16 bits,
 * three lie side by side as they are; the bits of the last one are where there is room: those of
 * `far` 14 places above, the others 6. */
LE_INLINE uint32_t le_halves_joint_field(uint32_t word, unsigned k, uint32_t mask, uint32_t near,
                                        uint32_t far) {
    return k < 3 ? (word >> 2 * k) & mask : ((word >> 6) & near) | ((word >> 14) & far);
}

/* Unpacks the weights of a tile's channels.
 *
 * In flash, a group is 16 fields for each half, [pair][channel], which hold w + 2^(w_bits-1): for
 * every pair of terms the lower halves hold the first term, the upper ones the second. A group
 * takes w_bits words; joint halves lie otherwise, see above. */
LE_INLINE void le_halves_unpack(uint32_t *to, const uint8_t *from, const le_halves_layer *layer,
                                unsigned w_bits, unsigned channels, unsigned w_shift) {
    const uint32_t half = 1u << (w_bits - 1);
    const uint32_t surplus = (channels == 2 ? half + (half << w_shift) : half) * 0x00010001u;
    const int joint = le_halves_joint(w_bits, channels, w_shift);
    uint32_t mask = (joint ? 3u + (3u << w_shift) : (1u << w_bits) - 1u) * 0x00010001u;
    uint32_t far = joint ? (3u & ~((1u << (w_shift - 6)) - 1u)) * 0x00010001u : 0;
    uint32_t near = mask & ~far;
    LE_IN_REGISTER(mask);
    if (far != 0) { /* else a constant that vanishes */
        LE_IN_REGISTER(near);
        LE_IN_REGISTER(far);
    }
    uint32_t *end = to + 4 * layer->pairs;
    uint32_t run[8];
    uint32_t *flash_end = to + 4 * layer->flash_pairs;
    LE_ALIGN_LOOP;
    for (; to < flash_end; to += 16 / channels) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < w_bits; ++i) {
            run[i] = le_load32(from + 4 * i);
        }
        from += 4 * w_bits;
#pragma GCC unroll 16
        for (unsigned k = 0; k < 16; k += channels) {
            uint32_t halves = joint ? le_halves_joint_field(run[k / 8], k / 2 % 4, mask, near, far)
                                    : le_halves_stream(run, k, w_bits, mask, 16);
            if (channels == 2 && !joint) {
                halves += le_halves_stream(run, k + 1, w_bits, mask, 16) << w_shift;
            }
            le_store_alone(to + k / channels, le_ssub16(halves, surplus));
        }
    }
    while (to < end) {
        *to++ = 0;
        LE_KEEP_LOOP(to);
    }
}

/* Unpacks the weights of a tile's channels to byte pairs.
 *
 * In flash, a group is 8 fields for each byte, [pair][two byte pairs], which hold
 * w + 2^(w_bits-1): of each half, its first and its second channel. It takes w_bits words. */
LE_INLINE void le_halves_unpack_bytes(uint32_t *to, const uint8_t *from,
                                      const le_halves_layer *layer, unsigned w_bits) {
    const uint32_t surplus = 0x01010101u << (w_bits - 1);
    uint32_t mask = ((1u << w_bits) - 1u) * 0x01010101u;
    LE_IN_REGISTER(mask);
    uint32_t *end = to + 2 * layer->pairs;
    uint32_t run[8];
    uint32_t *flash_end = to + 2 * layer->flash_pairs;
    LE_ALIGN_LOOP;
    for (; to < flash_end; to += 8) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < w_bits; ++i) {
            run[i] = le_load32(from + 4 * i);
        }
        from += 4 * w_bits;
#pragma GCC unroll 8
        for (unsigned k = 0; k < 8; ++k) {
            uint32_t bytes = le_halves_stream(run, k, w_bits, mask, 8);
            le_store_alone(to + k, le_ssub16(bytes, surplus)); /* halves: w + w' 2^8 */
        }
    }
    while (to < end) {
        *to++ = 0;
        LE_KEEP_LOOP(to);
    }
}

#endif
