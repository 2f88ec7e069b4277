/* Around the tiles of folded depthwise convolutions: packing a group's channels of a band,
 * unpacking the weights of a channel, and writing a group's outputs.
 *
 * All parameters behind the band are constants after inlining.
 */
#ifndef LE_FOLD_PACK_H
#define LE_FOLD_PACK_H

#include "le_fold.h"

/* A pixel's address, and what leads from it to the pixel below and to that of the lower fold.
 * Numbers, as they may lead from the padding to the input. */
typedef struct {
    uintptr_t at, down, lower;
} le_fold_pixel;

LE_INLINE uint32_t le_fold_load(uintptr_t address, unsigned bytes) {
    const void *p = (const void *)address;
    return bytes == 2 ? le_load16(p) : *(const uint8_t *)p;
}

/* The address of a pixel that may lie outside. */
LE_INLINE uintptr_t le_fold_address(const le_fold_band *band, int32_t y, int32_t x) {
    if (y < 0 || y >= band->in_h || x < 0 || x >= band->in_w) {
        return (uintptr_t)band->pad;
    }
    if (y < band->end_kept) {
        return (uintptr_t)(band->kept + (uint32_t)((y - band->first_kept) * band->in_w + x) *
                                            band->kept_bytes);
    }
    return (uintptr_t)(band->in + (uint32_t)y * band->in_row_bytes +
                       (uint32_t)x * band->in_pixel_bytes);
}

LE_INLINE le_fold_pixel le_fold_find(const le_fold_band *band, int32_t y, int32_t x,
                                     unsigned folds) {
    le_fold_pixel pixel;
    pixel.at = le_fold_address(band, y, x);
    pixel.lower = folds == 2 ? le_fold_address(band, y + band->fold_rows, x) - pixel.at : 0;
    pixel.down = x < 0 || x >= band->in_w ? 0 : band->in_row_bytes;
    return pixel;
}

/* Packs `bytes` bytes of each pixel; rows are `group` words apart. */
LE_INLINE void le_fold_pack(uint32_t *to, const le_fold_band *band, unsigned storage,
                            unsigned bytes, unsigned folds, unsigned field_bits, unsigned group) {
    uint32_t mask = ((1u << storage) - 1u) * 0x00010001u;
    LE_IN_REGISTER(mask);
    /* Rows begin .. end of both folds lie inside, one below the other. */
    const int32_t lower = folds == 2 ? band->fold_rows : 0;
    int32_t begin = (band->end_kept > 0 ? band->end_kept : 0) - band->top;
    int32_t end = band->in_h - lower - band->top;
    end = end < band->rows ? end : band->rows;
    for (int32_t pair = 0; pair < band->pairs; ++pair) {
        const int32_t x = band->left + 2 * pair;
        int32_t row = 0;
        while (row < band->rows) {
            int32_t count = row >= begin && row < end ? end - row : 1;
            le_fold_pixel left = le_fold_find(band, band->top + row, x, folds);
            le_fold_pixel right = le_fold_find(band, band->top + row, x + 1, folds);
            row += count;
            do {
                uint32_t upper = le_fold_load(left.at, bytes);
                upper |= le_fold_load(right.at, bytes) << 16;
                uint32_t below = 0;
                if (folds == 2) {
                    below = le_fold_load(left.at + left.lower, bytes);
                    below |= le_fold_load(right.at + right.lower, bytes) << 16;
                }
                left.at += left.down;
                right.at += right.down;
                for (unsigned i = 0; i < bytes * 8 / storage; ++i) {
                    uint32_t word = (upper >> (i * storage)) & mask;
                    if (folds == 2) {
                        word |= ((below >> (i * storage)) & mask) << field_bits;
                    }
                    to[i] = word;
                }
                to += group;
            } while (--count > 0);
        }
    }
}

/* Tap `i` of a stream. */
LE_INLINE uint32_t le_fold_tap(const uint32_t *run, unsigned i, unsigned w_bits) {
    const unsigned word = i * w_bits / 32, lsb = i * w_bits % 32;
    uint32_t value = run[word] >> lsb;
    if (lsb + w_bits > 32) {
        value |= run[word + 1] << (32 - lsb);
    }
    return (uint32_t)le_sbfx(value, 0, w_bits);
}

/* Pairs of neighbouring taps, for each row of the kernel: from the even columns on (0-1, 2-3),
 * then, for stride 1, from the odd ones on (1-2, 3-4), for stride 2 the last tap alone. */
LE_INLINE void le_fold_unpack(uint32_t *w, const uint8_t *weights, unsigned w_bits,
                              unsigned kernel, unsigned stride) {
    const unsigned words = (kernel * kernel * w_bits + 31) / 32;
    uint32_t run[8];
#pragma GCC unroll 8
    for (unsigned i = 0; i < words; ++i) {
        run[i] = le_load32(weights + 4 * i);
    }
#pragma GCC unroll 5
    for (unsigned ky = 0; ky < kernel; ++ky) {
        const unsigned row = ky * kernel;
#pragma GCC unroll 2
        for (unsigned kx = 0; kx + 1 < kernel; kx += 2) {
            *w++ = le_pkhbt(le_fold_tap(run, row + kx, w_bits),
                            le_fold_tap(run, row + kx + 1, w_bits), 16);
        }
        if (stride == 2) {
            *w++ = le_fold_tap(run, row + kernel - 1, w_bits);
            continue;
        }
#pragma GCC unroll 2
        for (unsigned kx = 1; kx < kernel; kx += 2) {
            *w++ = le_pkhbt(le_fold_tap(run, row + kx, w_bits),
                            le_fold_tap(run, row + kx + 1, w_bits), 16);
        }
    }
}

LE_INLINE void le_fold_store(uint8_t *p, uint32_t value, unsigned bytes) {
    if (bytes == 2) {
        le_store16(p, value);
    } else {
        *p = (uint8_t)value;
    }
}

/* The outputs of the channels of one byte, side by side in each lane. */
LE_INLINE uint32_t le_fold_gather(const uint32_t *from, unsigned storage) {
    uint32_t lanes = from[0];
    for (unsigned i = 1; i < 8 / storage; ++i) {
        lanes |= from[i] << (i * storage);
    }
    return lanes;
}

/* `count` rows of a strip. Where the second column, or the lower fold, does not exist, `step` or
 * `lower` is 0, and what exists is written last. */
LE_INLINE void le_fold_scatter_rows(uint8_t *out, const uint32_t *from, uint32_t count,
                                    uint32_t row_bytes, uint32_t step, uint32_t lower,
                                    unsigned storage, unsigned bytes, unsigned folds,
                                    unsigned row_words) {
    for (; count > 0; --count) {
        const uint32_t even = le_fold_gather(from, storage);
        const uint32_t odd = bytes == 2 ? le_fold_gather(from + 8 / storage, storage) : 0;
        if (folds == 1) { /* a column in each half */
            const uint32_t columns = even | (odd << 8);
            le_fold_store(out + step, columns >> 16, bytes);
            le_fold_store(out, columns, bytes);
        } else { /* a fold in each half, a column in each byte */
            const uint32_t right = le_uxtb16(even, 8) | (odd & 0xFF00FF00u);
            const uint32_t left = bytes == 2 ? le_uxtb16(even, 0) | (le_uxtb16(odd, 0) << 8) : even;
            uint8_t *below = out + lower;
            le_fold_store(below + step, right >> 16, bytes);
            le_fold_store(below, left >> 16, bytes);
            le_fold_store(out + step, right, bytes);
            le_fold_store(out, left, bytes);
        }
        out += row_bytes;
        from += row_words;
    }
}

/* Writes `bytes` bytes of each output pixel of a band. */
LE_INLINE void le_fold_scatter(const uint32_t *from, const le_fold_band *band, unsigned storage,
                               unsigned bytes, unsigned folds, unsigned row_words) {
    const uint32_t row_bytes = band->out_row_bytes, pixel_bytes = band->out_pixel_bytes;
    uint8_t *out = band->out;
    for (uint32_t x = 0; x < band->out_w; x += 2) {
        const uint32_t step = x + 1 < band->out_w ? pixel_bytes : 0;
        uint32_t count = folds == 2 ? band->lower : band->upper;
        uint32_t lower = folds == 2 ? band->upper * row_bytes : 0;
        const uint32_t *word = from;
        uint8_t *row = out;
        uint32_t left = band->upper;
        while (left > 0) {
            if (count == 0) { /* the upper fold has one row more */
                count = left;
                lower = 0;
            }
            le_fold_scatter_rows(row, word, count, row_bytes, step, lower, storage, bytes, folds,
                                 row_words);
            word += count * row_words;
            row += count * row_bytes;
            left -= count;
            count = 0;
        }
        from += band->strip_bytes / 4;
        out += 2 * pixel_bytes;
    }
}

#endif
