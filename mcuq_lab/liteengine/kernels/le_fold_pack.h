/* Around the tiles of folded depthwise convolutions: packing a group's channels of a band,
 * unpacking the weights of a channel, and writing a group's outputs.
 *
 * All parameters behind the band are constants after inlining.
 */
#ifndef LE_FOLD_PACK_H
#define LE_FOLD_PACK_H

#include "le_fold.h"

/* The first pixel of a row, and what leads to the next one: 0 in a row of padding. Addresses are
 * numbers, as differences lead from the padding to the input, and rows begin outside. */
typedef struct {
    uintptr_t at;
    uint32_t step;
} le_fold_line;

/* A pixel, and what leads from it to the one below and to that of the lower fold. */
typedef struct {
    uintptr_t at, down, lower;
} le_fold_pixel;

LE_INLINE uint32_t le_fold_load(uintptr_t address, unsigned bytes) {
    const void *p = (const void *)address;
    return bytes == 4 ? le_load32(p) : bytes == 2 ? le_load16(p) : *(const uint8_t *)p;
}

/* Two pixels side by side: bits [lsb & ~15, +16) of each. */
LE_INLINE uint32_t le_fold_pair(uint32_t left, uint32_t right, unsigned lsb) {
    return lsb < 16 ? le_pkhbt(left, right, 16) : le_pkhtb(right, left, 16);
}

/* Row `y`, which may lie outside, from column band->left on. */
LE_INLINE le_fold_line le_fold_find(const le_fold_band *band, int32_t y) {
    le_fold_line line = {(uintptr_t)band->pad, 0};
    if (y >= 0 && y < band->in_h) {
        if (y < band->end_kept) {
            line.step = band->kept_bytes;
            line.at = (uintptr_t)band->kept +
                      (uint32_t)((y - band->first_kept) * band->in_w) * band->kept_bytes;
        } else {
            line.step = band->in_pixel_bytes;
            line.at = (uintptr_t)band->in + (uint32_t)y * band->in_row_bytes;
        }
        line.at += (uintptr_t)(band->left * (int32_t)line.step);
    }
    return line;
}

/* A word of which one fold at most lies inside, from that word where it is the other fold. */
LE_INLINE uint32_t le_fold_edge_word(uint32_t other, uint32_t rotation, uint32_t keep,
                                     uint32_t fill) {
    return (((other >> rotation) | (other << ((32 - rotation) & 31))) & keep) | fill;
}

/* Packs row `row`, of which one fold at least lies outside, from what is packed already, rows
 * begin .. end; returns 0 where they do not contain its other fold. */
LE_INLINE int le_fold_pack_edge(uint32_t *to, const le_fold_band *band, int32_t row, int32_t begin,
                                int32_t end, unsigned storage, unsigned bytes, unsigned folds,
                                unsigned field_bits, unsigned group) {
    const uint32_t mask = ((1u << storage) - 1u) * 0x00010001u;
    const uint32_t padding = (*band->pad & ((1u << storage) - 1u)) * 0x00010001u;
    const uint32_t upper_outside = (uint32_t)(band->top + row) >= (uint32_t)band->in_h;
    const uint32_t lower_outside =
        folds == 1 || (uint32_t)(band->top + row + band->fold_rows) >= (uint32_t)band->in_h;
    int32_t other = row;     /* where the fold inside is packed as the other one */
    uint32_t rotation = 0;   /* to the right, from there                         */
    uint32_t keep = 0, fill = padding;
    if (upper_outside && lower_outside) {
        fill |= folds == 2 ? padding << field_bits : 0;
    } else if (upper_outside) {
        other = row + band->fold_rows;
        rotation = 32 - field_bits;
        keep = mask << field_bits;
    } else if (lower_outside) {
        other = row - band->fold_rows;
        rotation = field_bits;
        keep = mask & (0xFFFFu >> field_bits) * 0x00010001u; /* nothing of the other half */
        fill = padding << field_bits;
    }
    const int needs_other = !(upper_outside && lower_outside);
    if (needs_other && (folds == 1 || other == row || other < begin || other >= end)) {
        return 0;
    }
    const unsigned words = bytes * 8 / storage;
    const uint32_t pair_words = band->pair_bytes / 4;
    const int four = folds == 2 && words % 4 == 0; /* loads side by side are faster */
    const uint32_t *from = to + other * (int32_t)group;
    to += row * (int32_t)group;
    for (int32_t pairs = band->pairs; pairs > 0; --pairs) {
        for (unsigned i = 0; i < words; i += four ? 4 : 1) {
            if (four) {
                uint32_t a = le_load32(from + i), b = le_load32(from + i + 1);
                uint32_t c = le_load32(from + i + 2), d = le_load32(from + i + 3);
                LE_NOT_BEFORE_4(a, b, c, d);
                le_store_alone(to + i, le_fold_edge_word(a, rotation, keep, fill));
                le_store_alone(to + i + 1, le_fold_edge_word(b, rotation, keep, fill));
                le_store_alone(to + i + 2, le_fold_edge_word(c, rotation, keep, fill));
                le_store_alone(to + i + 3, le_fold_edge_word(d, rotation, keep, fill));
            } else {
                to[i] = folds == 2 ? le_fold_edge_word(from[i], rotation, keep, fill) : fill;
            }
        }
        from += pair_words;
        to += pair_words;
    }
    return 1;
}

/* Packs `bytes` bytes of each pixel; rows are `group` words apart. */
LE_INLINE void le_fold_pack(uint32_t *to, const le_fold_band *band, unsigned storage,
                            unsigned bytes, unsigned folds, unsigned field_bits, unsigned group) {
    uint32_t mask = ((1u << storage) - 1u) * 0x00010001u;
    LE_IN_REGISTER(mask);
    /* Rows begin .. end of both folds lie inside, one below the other. They come first, in one go;
     * then one row after the other. */
    int32_t begin = band->end_kept - band->top;
    int32_t end = band->in_h - (folds == 2 ? band->fold_rows : 0) - band->top;
    end = end < band->rows ? end : band->rows;
    if (begin >= end) {
        begin = end = 0;
    }
    const uint32_t pair_words = band->pair_bytes / 4, row_bytes = band->in_row_bytes;
    const uint32_t columns = (uint32_t)band->in_w;
    int32_t row = begin, rows = end - begin, next = 0;
    for (;;) {
        le_fold_line upper = le_fold_find(band, band->top + row);
        le_fold_line below = upper;
        if (folds == 2) {
            below = le_fold_find(band, band->top + row + band->fold_rows);
        }
        uint32_t *column = to + row * (int32_t)group;
        const uint32_t run_words = (uint32_t)rows * group;
        int32_t x = band->left;
        for (int32_t pairs = rows > 0 ? band->pairs : 0; pairs > 0; --pairs) {
            const le_fold_pixel outside = {(uintptr_t)band->pad, 0, 0};
            le_fold_pixel left = {upper.at, row_bytes, below.at - upper.at};
            le_fold_pixel right = {upper.at + upper.step, row_bytes, 0};
            right.lower = below.at + below.step - right.at;
            if ((uint32_t)x >= columns - 1) { /* one of them at least */
                left = (uint32_t)x < columns ? left : outside;
                right = (uint32_t)(x + 1) < columns ? right : outside;
            }
            uint32_t *word = column;
            uint32_t *words_end = word + run_words;
            do {
                uint32_t above = le_fold_load(left.at, bytes);
                uint32_t above_right = le_fold_load(right.at, bytes);
                uint32_t lower = 0, lower_right = 0;
                if (folds == 2) {
                    lower = le_fold_load(left.at + left.lower, bytes);
                    lower_right = le_fold_load(right.at + right.lower, bytes);
                    LE_NOT_BEFORE_4(above, above_right, lower, lower_right);
                }
                left.at += left.down;
                right.at += right.down;
                for (unsigned lsb = 0; lsb < bytes * 8; lsb += storage) {
                    uint32_t pair = le_fold_pair(above, above_right, lsb);
                    uint32_t halves = (pair >> lsb % 16) & mask;
                    if (folds == 2) {
                        pair = le_fold_pair(lower, lower_right, lsb);
                        halves |= ((pair >> lsb % 16) & mask) << field_bits;
                    }
                    word[lsb / storage] = halves;
                }
                word += group;
            } while (word != words_end);
            x += 2;
            upper.at += 2 * upper.step;
            below.at += 2 * below.step;
            column += pair_words;
        }
        if (next == begin) {
            next = end;
        }
        if (next == band->rows) {
            return;
        }
        row = next++;
        rows = !le_fold_pack_edge(to, band, row, begin, end, storage, bytes, folds, field_bits,
                                  group);
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

/* Unpacks the weights of some channels. For each row of the kernel: pairs of neighbouring taps from
 * the even columns on (0-1, 2-3), then, for stride 1, from the odd ones on (1-2, 3-4), for stride 2
 * the last tap alone. */
LE_INLINE void le_fold_unpack(uint32_t *w, const uint8_t *weights, uint32_t channels,
                              unsigned w_bits, unsigned kernel, unsigned stride) {
    const unsigned words = (kernel * kernel * w_bits + 31) / 32;
    uint32_t run[8];
    for (; channels > 0; --channels) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < words; ++i) {
            run[i] = le_load32(weights + 4 * i);
        }
        weights += (kernel * kernel * w_bits + 7) / 8;
#pragma GCC unroll 5
        for (unsigned row = 0; row < kernel * kernel; row += kernel) {
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
}

LE_INLINE void le_fold_store(uint8_t *p, uint32_t value, unsigned bytes) {
    if (bytes == 4) {
        le_store32(p, value);
    } else if (bytes == 2) {
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

/* The same of two bytes at once: words are loaded four side by side. */
LE_INLINE void le_fold_gather_two(uint32_t *even, uint32_t *odd, const uint32_t *from,
                                  unsigned storage) {
    uint32_t a = le_load32(from), b = le_load32(from + 1);
    if (storage == 8) {
        LE_NOT_BEFORE_2(a, b);
        *even = a;
        *odd = b;
        return;
    }
    uint32_t c = le_load32(from + 2), d = le_load32(from + 3);
    LE_NOT_BEFORE_4(a, b, c, d);
    if (storage == 4) {
        *even = a | (b << 4);
        *odd = c | (d << 4);
        return;
    }
    *even = a | (b << 2) | (c << 4) | (d << 6);
    a = le_load32(from + 4);
    b = le_load32(from + 5);
    c = le_load32(from + 6);
    d = le_load32(from + 7);
    LE_NOT_BEFORE_4(a, b, c, d);
    *odd = a | (b << 2) | (c << 4) | (d << 6);
}

/* Stores the four pixels, of four bytes each, of two columns in two folds. Each of four words has
 * one byte of all pixels: the columns in the bytes of its halves, the folds in the halves. */
LE_INLINE void le_fold_store_square(uint8_t *upper, uint8_t *lower, uint32_t step,
                                    const uint32_t *from, unsigned storage) {
    uint32_t byte0, byte1, byte2, byte3;
    le_fold_gather_two(&byte0, &byte1, from, storage);
    le_fold_gather_two(&byte2, &byte3, from + 16 / storage, storage);
    uint32_t even[2] = {le_pkhbt(byte0, byte2, 16), le_pkhtb(byte2, byte0, 16)};
    uint32_t odd[2] = {le_pkhbt(byte1, byte3, 16), le_pkhtb(byte3, byte1, 16)};
    for (unsigned fold = 0; fold < 2; ++fold) { /* even and odd bytes become left and right */
        const uint32_t swapped = ((even[fold] >> 8) ^ odd[fold]) & 0x00FF00FFu;
        even[fold] ^= swapped << 8;
        odd[fold] ^= swapped;
    }
    le_store32(lower + step, odd[1]);
    le_store32(upper + step, odd[0]);
    le_store32(lower, even[1]);
    le_store32(upper, even[0]);
}

/* The outputs of the channels of at most two bytes of a pixel: of its left and its right column,
 * one fold in each half. With one fold, a column in each half of `left`. */
typedef struct {
    uint32_t left, right;
} le_fold_columns;

LE_INLINE le_fold_columns le_fold_gather_bytes(const uint32_t *from, unsigned storage,
                                               unsigned bytes, unsigned folds) {
    uint32_t even, odd = 0;
    if (bytes > 1) {
        le_fold_gather_two(&even, &odd, from, storage);
    } else {
        even = le_fold_gather(from, storage);
    }
    le_fold_columns columns;
    if (folds == 1) {
        columns.left = even | (odd << 8);
        columns.right = 0;
    } else { /* a fold in each half, a column in each byte */
        columns.left = bytes > 1 ? le_uxtb16(even, 0) | (le_uxtb16(odd, 0) << 8) : even;
        columns.right = le_uxtb16(even, 8) | (odd & 0xFF00FF00u);
    }
    return columns;
}

/* Stores the pixels in the halves of `low` at `first` and `second`; of pixels of four bytes, the
 * upper two are in `high`. */
LE_INLINE void le_fold_store_halves(uint8_t *first, uint8_t *second, uint32_t low, uint32_t high,
                                    unsigned bytes) {
    le_fold_store(second, bytes == 4 ? le_pkhtb(high, low, 16) : low >> 16, bytes);
    le_fold_store(first, bytes == 4 ? le_pkhbt(low, high, 16) : low, bytes);
}

/* `count` rows of a strip. Where the second column, or the lower fold, does not exist, `step` or
 * `lower` is 0, and what exists is written last. */
LE_INLINE void le_fold_scatter_rows(uint8_t *out, const uint32_t *from, uint32_t count,
                                    uint32_t row_bytes, uint32_t step, uint32_t lower,
                                    unsigned storage, unsigned bytes, unsigned folds,
                                    unsigned row_words) {
    for (; count > 0; --count) {
        if (bytes == 4 && folds == 2) {
            le_fold_store_square(out, out + lower, step, from, storage);
        } else {
            const le_fold_columns low = le_fold_gather_bytes(from, storage, bytes, folds);
            le_fold_columns high = {0, 0};
            if (bytes == 4) {
                high = le_fold_gather_bytes(from + 16 / storage, storage, bytes, folds);
            }
            if (folds == 1) {
                le_fold_store_halves(out, out + step, low.left, high.left, bytes);
            } else {
                uint8_t *below = out + lower;
                le_fold_store_halves(out + step, below + step, low.right, high.right, bytes);
                le_fold_store_halves(out, below, low.left, high.left, bytes);
            }
        }
        out += row_bytes;
        from += row_words;
    }
}

/* Writes `bytes` bytes of each output pixel of a band: the rows that all folds have, then the one
 * that the upper fold has alone. */
LE_INLINE void le_fold_scatter(const uint32_t *from, const le_fold_band *band, unsigned storage,
                               unsigned bytes, unsigned folds, unsigned row_words) {
    const uint32_t row_bytes = band->out_row_bytes, pixel_bytes = band->out_pixel_bytes;
    const uint32_t strip_words = band->strip_bytes / 4, columns = band->out_w;
    uint8_t *out = band->out;
    uint32_t count = folds == 2 ? band->lower : band->upper, left = band->upper;
    uint32_t lower = folds == 2 ? band->upper * row_bytes : 0;
    while (left > 0) {
        if (count == 0) {
            count = left;
            lower = 0;
        }
        const uint32_t *strip = from;
        uint8_t *column = out;
        for (uint32_t x = 0; x < columns; x += 2) {
            const uint32_t step = x + 1 < columns ? pixel_bytes : 0;
            le_fold_scatter_rows(column, strip, count, row_bytes, step, lower, storage, bytes,
                                 folds, row_words);
            strip += strip_words;
            column += 2 * pixel_bytes;
        }
        from += count * row_words;
        out += count * row_bytes;
        left -= count;
        count = 0;
    }
}

#endif
