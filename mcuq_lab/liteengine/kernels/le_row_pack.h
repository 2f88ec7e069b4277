/* Before the tiles of the row polynomial: packing one input row, unpacking the weights of two
 * output channels, and the accumulators' start values.
 *
 * All parameters behind the layer are constants after inlining.
 */
#ifndef LE_ROW_PACK_H
#define LE_ROW_PACK_H

#include "le_row_polynomial.h"

typedef struct {
    unsigned pixels, field_bits, toggle, slots;
    unsigned phases;    /* that pixels are dealt to         */
    unsigned lanes;     /* channels of a word               */
    unsigned in_pairs;  /* a range is two channels          */
    unsigned storage;   /* bits of an activation            */
    unsigned low, bits; /* of the slice                     */
    unsigned few;       /* all channels of a layer that has less than a word of them; or 0 */
    unsigned ordered;   /* words of channels are packed in the layer's order             */
} le_row_shape;

/* a + (b << shift), modulo 2^32, in one instruction: compilers shift first and add then. */
LE_INLINE uint32_t le_row_add(uint32_t a, uint32_t b, unsigned shift) {
    if (shift > 31) {
        return a;
    }
#if LE_ARM_DSP
    uint32_t result;
    __asm__("add.w %0, %1, %2, lsl %3" : "=r"(result) : "r"(a), "r"(b), "I"(shift));
    return result;
#else
    return a + (b << shift);
#endif
}

/* A, from the fields at bit `lsb` of the pixels' words. */
LE_INLINE uint32_t le_row_word(const uint32_t *fields, unsigned lsb, const le_row_shape *shape) {
    uint32_t word = le_ubfx(fields[0], lsb, shape->bits);
#pragma GCC unroll 8
    for (unsigned i = 1; i < shape->pixels; ++i) {
        word = le_row_add(word, le_ubfx(fields[i], lsb, shape->bits), i * shape->field_bits);
    }
    return word ^ (shape->toggle ? 1u << 31 : 0u);
}

/* Bit at which the fields of the third and the fourth pixel stand in the halves of a word, so that a
 * factor below 2^15 moves the fourth one to its place. */
LE_INLINE unsigned le_row_upper_bit(const le_row_shape *shape) {
    const unsigned place = 3 * shape->field_bits;
    return shape->pixels == 4 && place > 14 ? place - 14 : 0;
}

/* Whether SMLAD moves pixels to their places, by factors that are positive numbers of 16 bits. */
LE_INLINE int le_row_by_halves(unsigned count, const le_row_shape *shape) {
    const unsigned pixels = shape->pixels;
    return count * shape->storage == 32 && (pixels == 3 || pixels == 4) &&
           shape->field_bits <= 14 && le_row_upper_bit(shape) + shape->bits <= 15;
}

/* `word` shifted so that bit `from` becomes bit `to`. */
LE_INLINE uint32_t le_row_moved(uint32_t word, unsigned from, unsigned to) {
    return from > to ? word >> (from - to) : word << (to - from);
}

/* A of `count` channels, all of a word: those of two pixels lie in the halves of words `low` and
 * `high`, where one mask takes both of them and SMLAD brings both to their places. */
LE_INLINE void le_row_words_by_halves(uint32_t *entry, const uint32_t *fields, unsigned count,
                                      unsigned next, unsigned next_pair,
                                      const le_row_shape *shape) {
    const unsigned pixels = shape->pixels, s = shape->field_bits, upper = le_row_upper_bit(shape);
    const uint32_t field = (1u << shape->bits) - 1u;
    uint32_t mask = field * 0x00010001u;
    uint32_t rest_mask = pixels == 3 ? field << 2 * s : mask << upper;
    uint32_t places = 1u | 1u << (16 + s);
    uint32_t rest_places = 1u << (2 * s - upper) % 32 | 1u << (16 + 3 * s - upper) % 32;
    LE_IN_REGISTER(mask);
    LE_IN_REGISTER(rest_mask);
    LE_IN_REGISTER(places);
    if (pixels == 4) {
        LE_IN_REGISTER(rest_places);
    }
    const uint32_t halves[2] = {le_pkhbt(fields[0], fields[1], 16),
                                le_pkhtb(fields[1], fields[0], 16)};
    const uint32_t rest[2] = {le_pkhbt(fields[2], fields[pixels - 1], 16),
                              le_pkhtb(fields[pixels - 1], fields[2], 16)};
#pragma GCC unroll 16
    for (unsigned k = 0; k < count; ++k) {
        const unsigned lsb = k * shape->storage + shape->low, half = lsb / 16, at = lsb % 16;
        const uint32_t two = (halves[half] >> at) & mask;
        uint32_t more;
        if (pixels == 3) {
            more = le_row_moved(fields[2], lsb, 2 * s) & rest_mask;
        } else {
            more = (uint32_t)le_smuad(le_row_moved(rest[half], at, upper) & rest_mask, rest_places);
        }
        *entry = (uint32_t)le_smlad(two, places, (int32_t)more) ^ (shape->toggle ? 1u << 31 : 0u);
        entry += shape->in_pairs && k % 2 == 1 ? next_pair : next;
    }
}

/* A of two pixels of two channels, one in either half of a word, at bit `lsb` and half a word above
 * it. */
LE_INLINE uint32_t le_row_lanes_word(const uint32_t *fields, unsigned lsb,
                                     const le_row_shape *shape) {
    const uint32_t mask = ((1u << shape->bits) - 1u) * 0x00010001u;
    return le_row_add((fields[0] >> lsb) & mask, (fields[1] >> lsb) & mask, shape->field_bits);
}

/* `count` channels of a pixel: a word of them, one, or all of a layer that has few. */
LE_INLINE uint32_t le_row_pixel(const uint8_t *pixel, unsigned count, const le_row_shape *shape) {
    const unsigned bits = count * shape->storage;
    if (bits <= 8) {
        return *pixel;
    }
    if (bits <= 16) {
        return le_load16(pixel);
    }
    return bits <= 24 ? le_load16(pixel) | ((uint32_t)pixel[2] << 16) : le_load32(pixel);
}

/* Packs one block of `count` channels, see `le_row_pixel`, from the words of its pixels. */
LE_INLINE void le_row_pack_block(uint32_t *entry, const uint32_t *fields, unsigned count,
                                 const le_row_layer *layer, const le_row_shape *shape) {
    const uint32_t next_pair = layer->range_bytes / 4 - shape->slots;
    if (shape->lanes == 2) {
#pragma GCC unroll 8
        for (unsigned k = 0; k < (count + 1) / 2; ++k) {
            entry[0] = le_row_lanes_word(fields, k * shape->storage, shape);
            entry[shape->slots] = le_row_lanes_word(fields + 2, k * shape->storage, shape);
            entry += 2 * shape->phases * shape->slots;
        }
        return;
    }
    if (le_row_by_halves(count, shape)) {
        const unsigned next = shape->phases * shape->slots;
        le_row_words_by_halves(entry, fields, count, next, next_pair, shape);
        return;
    }
#pragma GCC unroll 16
    for (unsigned k = 0; k < count; ++k) {
        *entry = le_row_word(fields, k * shape->storage + shape->low, shape);
        entry += shape->in_pairs && k % 2 == 1 ? next_pair : shape->phases * shape->slots;
    }
}

/* A pixel's word from its first channel on, at bit `bit` of what is read; with one channel in two
 * lanes the next one moves into the upper half. */
LE_INLINE uint32_t le_row_pixel_word(const uint8_t *pixel, unsigned count, uint32_t bit,
                                     const le_row_shape *shape) {
    const uint32_t word = le_row_pixel(pixel, count, shape) >> bit;
    return count == 1 && shape->lanes == 2 ? word | (word << (16 - shape->storage)) : word;
}

/* Packs `blocks` blocks of `count` channels: pixels lie `step` bytes apart from `pixel` on, the first
 * channel begins at bit `bit`. */
LE_INLINE void le_row_pack_run(uint32_t *to, const uint8_t *pixel, uint32_t step, uint32_t blocks,
                               unsigned count, uint32_t bit, const le_row_layer *layer,
                               const le_row_shape *shape) {
    const uint32_t block_words = layer->block_bytes / 4;
    uint32_t fields[8];
    for (; blocks > 0; --blocks) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < shape->pixels; ++i) {
            fields[i] = le_row_pixel_word(pixel, count, bit, shape);
            pixel += step;
        }
        le_row_pack_block(to, fields, count, layer, shape);
        to += block_words;
    }
}

/* Packs all blocks of `count` channels of one phase of a row; `row` and `pad` are the bytes where
 * they begin in its first pixel and in a pixel of padding, `row` 0 for a row of padding. */
LE_INLINE void le_row_pack_channels(uint32_t *to, const uint8_t *row, const uint8_t *pad,
                                    unsigned count, uint32_t bit, uint32_t phase,
                                    const le_row_layer *layer, const le_row_shape *shape) {
    const uint32_t step = shape->phases * le_pixel_bytes(layer->in_c, shape->storage);
    const uint32_t pixels = (layer->in_w + shape->phases - 1 - phase) / shape->phases;
    const uint32_t whole = row ? pixels / shape->pixels : layer->blocks;
    if (layer->pad_blocks > 0) { /* the block in front lies in the padding, and is there already */
        to += layer->block_bytes / 4;
    }
    le_row_pack_run(to, row ? row : pad, row ? step : 0, whole, count, bit, layer, shape);
    to += whole * (layer->block_bytes / 4);
    if (row && whole < layer->blocks && layer->pad_blocks < 2) { /* the row ends inside a block */
        const uint32_t left = pixels - whole * shape->pixels;
        const uint8_t *from = row + whole * shape->pixels * step;
        uint32_t fields[8];
#pragma GCC unroll 8
        for (unsigned i = 0; i < shape->pixels; ++i) {
            from = i < left ? from : pad;
            fields[i] = le_row_pixel_word(from, count, bit, shape);
            from += step;
        }
        le_row_pack_block(to, fields, count, layer, shape);
    }
}

/* Packs `channels` channels of one row into a slot. `entry` is the slot's word in the first entry,
 * `row` the byte of the first channel in the first pixel or 0 for a row of padding, `pad` the same
 * in a pixel of padding. */
LE_INLINE void le_row_pack(uint32_t *entry, const uint8_t *row, const uint8_t *pad,
                           uint32_t channels, const le_row_layer *layer,
                           const le_row_shape *shape) {
    const unsigned group = 32 / shape->storage;
    uint32_t channel = 0;
    if (shape->few > 0) {
        const uint32_t step = le_pixel_bytes(shape->few, shape->storage);
        for (uint32_t phase = 0; phase < shape->phases; ++phase) {
            le_row_pack_channels(entry, row, pad, shape->few, 0, phase, layer, shape);
            entry += shape->slots;
            row = row ? row + step : row;
            LE_KEEP_LOOP(phase);
        }
        return;
    }
    while (channel < channels) {
        const uint32_t range = shape->in_pairs ? channel / 2 : channel / layer->range;
        const uint32_t within = channel - range * (shape->in_pairs ? 2u : layer->range);
        uint32_t *to =
            entry + range * (layer->range_bytes / 4) + within * shape->phases * shape->slots;
        /* ranges end where a group does, or with the last channel */
        const int whole = channel + group <= channels;
        const uint32_t byte = shape->ordered && whole ? 4u * layer->order[channel / group]
                                                      : channel * shape->storage / 8;
        const uint8_t *from = row ? row + byte : row;
        for (uint32_t phase = 0; phase < shape->phases; ++phase) {
            if (whole) {
                le_row_pack_channels(to, from, pad + byte, group, 0, phase, layer, shape);
            } else {
                le_row_pack_channels(to, from, pad + byte, 1, channel * shape->storage % 8, phase,
                                     layer, shape);
            }
            to += shape->lanes * shape->slots;
            from = row ? from + le_pixel_bytes(layer->in_c, shape->storage) : row;
            LE_KEEP_LOOP(phase);
        }
        channel += whole ? group : shape->lanes;
    }
}

/* Bits [lsb, lsb + bits) of a little-endian run of words; constants after inlining. */
LE_INLINE int32_t le_row_field(const uint32_t *run, unsigned lsb, unsigned bits, int is_signed) {
    unsigned word = lsb / 32, at = lsb % 32;
    uint32_t value = run[word];
    if (at + bits > 32) {
        value = (value >> at) | (run[word + 1] << (32 - at));
        at = 0;
    }
    return is_signed ? le_sbfx(value, at, bits) : (int32_t)le_ubfx(value, at, bits);
}

/* Of 72 bits, two channels of 2-bit weights, words that overlap: each filter row, six bits, lies
 * whole in one of them. */
LE_INLINE void le_row_load_threes(uint32_t run[3], const uint8_t *from) {
    run[0] = le_load32(from);
    run[1] = le_load32(from + 3);
    run[2] = le_load32(from + 5);
}

/* The filter row at bit `lsb` of these. */
LE_INLINE uint32_t le_row_taps(const uint32_t run[3], unsigned lsb) {
    if (lsb < 30) {
        return le_ubfx(run[0], lsb, 6);
    }
    return lsb < 42 ? le_ubfx(run[1], lsb - 24, 6) : le_ubfx(run[2], lsb - 40, 6);
}

/* Three filter rows of 2-bit weights as words: columns 2, 1, 0, that begin at bit `lsb` and `next`
 * bits apart. `rows` are the words of all rows, see row_kernels.py. */
LE_INLINE void le_row_three(uint32_t words[3], const uint32_t run[3], unsigned lsb, unsigned next,
                            const uint32_t *rows) {
    uint32_t first = le_row_taps(run, lsb);
    uint32_t second = le_row_taps(run, lsb + next);
    uint32_t third = le_row_taps(run, lsb + 2 * next);
    LE_NOT_BEFORE(first); /* three loads side by side pipeline */
    LE_NOT_BEFORE_2(second, third);
    words[0] = rows[first];
    words[1] = rows[second];
    words[2] = rows[third];
    LE_NOT_BEFORE_2(words[0], words[1]);
    LE_NOT_BEFORE(words[2]);
}

/* What weight words are made of the taps w2, w1, w0 of a filter row. */
enum {
    LE_ROW_ONE_WORD = 1,  /* all three                                                          */
    LE_ROW_TWO_WORDS = 2, /* w0; w2 and w1, `second` words behind                               */
    LE_ROW_PHASES = 3,    /* stride 2: w2 and w0 for one phase; w1, the upper tap of the other  */
    LE_ROW_PHASES_PADDED = 4, /* the same behind padding: w1, the lower tap; w2 and w0          */
};

/* Planes of one input channel. */
LE_INLINE unsigned le_row_planes(unsigned form) { return form >= LE_ROW_PHASES ? 2 : 1; }

/* Writes the words of row `i` of six (filter row, output channel). Volatile: two single stores take
 * two cycles, but three if the compiler joins them. */
LE_INLINE void le_row_put_words(volatile uint32_t *to, unsigned i, uint32_t w2, uint32_t w1,
                                uint32_t w0, unsigned field_bits, unsigned form,
                                uint32_t second) {
    if (form == LE_ROW_ONE_WORD) {
        to[i] = le_row_add(le_row_add(w2, w1, field_bits), w0, 2 * field_bits);
    } else if (form == LE_ROW_TWO_WORDS) {
        to[i] = w0;
        to[second + i] = le_row_add(w2, w1, field_bits);
    } else {
        const int padded = form == LE_ROW_PHASES_PADDED;
        to[i + (padded ? 6 : 0)] = le_row_add(w2, w0, field_bits);
        to[i + (padded ? 0 : 6)] = padded ? w1 : w1 << field_bits;
    }
}

/* Weight words of one input channel, slice [low, low + bits), from its 18 fields (filter row,
 * output channel, columns 2, 1, 0) that begin at bit `lsb` of `run`. */
LE_INLINE void le_row_unpack_channel(volatile uint32_t *to, uint32_t *run, unsigned lsb,
                                     unsigned w_bits, unsigned low, unsigned bits,
                                     unsigned field_bits, unsigned form, uint32_t second,
                                     const uint32_t *rows) {
    const int is_signed = low + bits == w_bits;
    if (w_bits == 2 && form == LE_ROW_ONE_WORD) {
#pragma GCC unroll 2
        for (unsigned i = 0; i < 6; i += 3) {
            uint32_t words[3];
            le_row_three(words, run, lsb + 6 * i, 6, rows);
            to[i] = words[0];
            to[i + 1] = words[1];
            to[i + 2] = words[2];
        }
        return;
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < 6; ++i) {
        unsigned at = lsb + low + 3 * i * w_bits;
        uint32_t w2 = (uint32_t)le_row_field(run, at, bits, is_signed);
        uint32_t w1 = (uint32_t)le_row_field(run, at + w_bits, bits, is_signed);
        uint32_t w0 = (uint32_t)le_row_field(run, at + 2 * w_bits, bits, is_signed);
        le_row_put_words(to, i, w2, w1, w0, field_bits, form, second);
    }
}

/* The same from 18 whole bytes, which LDRSB loads and extends in one. */
LE_INLINE void le_row_unpack_bytes(volatile uint32_t *to, const int8_t *from, unsigned field_bits,
                                   unsigned form, uint32_t second) {
#pragma GCC unroll 8
    for (unsigned i = 0; i < 6; ++i) {
        const uint32_t w2 = (uint32_t)from[3 * i], w1 = (uint32_t)from[3 * i + 1];
        const uint32_t w0 = (uint32_t)from[3 * i + 2];
        le_row_put_words(to, i, w2, w1, w0, field_bits, form, second);
    }
}

/* Unpacks `channels` input channels of two output channels, and zeros up to `padded` planes;
 * returns the weights of the channels behind.
 *
 * In flash, 18 fields of one input channel are a stream that begins on a byte (2-bit weights: two
 * input channels). `cut` is the weight slices' border: slice 0 is bits [cut, w_bits), slice 1 bits
 * [0, cut); 0 for a single slice. The second slice, or the second words, lie behind `padded`
 * planes. `rows` as in le_row_three, for one word of 2-bit weights. */
LE_INLINE const uint8_t *le_row_unpack(uint32_t *to, const uint8_t *from, uint32_t channels,
                                       uint32_t padded, unsigned w_bits, unsigned cut,
                                       unsigned field_bits, unsigned form,
                                       const uint32_t *rows) {
    const unsigned group = w_bits == 2 ? 2 : 1;
    const unsigned group_bytes = (group * 18 * w_bits + 7) / 8;
    const unsigned channel_words = 6 * le_row_planes(form);
    const uint32_t second = padded * 6u;
    uint32_t *end = to + second;
    uint32_t run[6];
    for (uint32_t channel = 0; channel < channels; channel += group) {
        if (w_bits == 8 && cut == 0) {
            le_row_unpack_bytes(to, (const int8_t *)from, field_bits, form, second);
            from += group_bytes;
            to += channel_words;
            continue;
        }
        if (w_bits == 2 && form == LE_ROW_ONE_WORD) {
            le_row_load_threes(run, from);
        } else {
#pragma GCC unroll 8
            for (unsigned i = 0; i < (group_bytes + 3) / 4; ++i) {
                run[i] = le_load32(from + 4 * i);
            }
        }
        from += group_bytes;
#pragma GCC unroll 2
        for (unsigned k = 0; k < group; ++k) {
            if (k > 0 && channel + k >= channels) {
                break; /* an odd number of channels */
            }
            le_row_unpack_channel(to, run, k * 18 * w_bits, w_bits, cut, w_bits - cut, field_bits,
                                  form, second, rows);
            if (cut > 0) {
                le_row_unpack_channel(to + second, run, k * 18 * w_bits, w_bits, 0, cut,
                                      field_bits, form, second, rows);
            }
            to += channel_words;
        }
    }
    for (; to < end; ++to) {
        *to = 0;
        if (cut > 0 || form == LE_ROW_TWO_WORDS) {
            to[second] = 0;
        }
        LE_KEEP_LOOP(to);
    }
    return from;
}

/* The same range by range, for two weight words. */
LE_INLINE void le_row_unpack_ranges(uint32_t *to, const uint8_t *from, const le_row_layer *layer,
                                    unsigned w_bits, unsigned field_bits) {
    for (uint32_t channel = 0; channel < layer->in_c; channel += layer->range) {
        uint32_t left = layer->in_c - channel;
        from = le_row_unpack(to, from, left < layer->range ? left : layer->range, layer->range,
                             w_bits, 0, field_bits, LE_ROW_TWO_WORDS, 0);
        to += 12 * layer->range;
    }
}

/* Start values of one output channel in one segment from K, K of the uppermost field, and if the
 * layer has them the sums of the weights by power of z and the zero point: `next` for all blocks but
 * the first one. `taps` are those of the first weight word. */
LE_INLINE void le_row_start(uint32_t next[2], uint32_t first[2], const int32_t *channel,
                            const le_row_layer *layer, unsigned pixels, unsigned field_bits,
                            unsigned taps, unsigned words, unsigned toggle) {
    const uint64_t k = (uint32_t)channel[0], uppermost = (uint32_t)channel[1];
    const unsigned carried = taps - 1; /* fields taken over from the block before */
    const unsigned top = pixels + carried - 1;
    uint64_t sum = ((k - uppermost) << ((carried - 1) * field_bits)) +
                   (uppermost << (top * field_bits));
#pragma GCC unroll 8
    for (unsigned field = carried; field < top; ++field) {
        sum += k << (field * field_bits);
    }
    uint64_t before = uppermost << ((carried - 1) * field_bits); /* as if carried */
    if (carried == 2) {
        before += k;
    }
    if (layer->start_values == 5) {
        const uint64_t w2 = (uint64_t)(int64_t)channel[2], w1 = (uint64_t)(int64_t)channel[3];
        const uint64_t w0 = (uint64_t)(int64_t)channel[4];
        if (toggle) {
            sum += (w2 + (w1 << field_bits) + (carried == 2 ? w0 << 2 * field_bits : w0)) << 31;
        }
        if (words == 1 && layer->pad_left) { /* the uppermost tap sees the padding */
            const uint64_t upper = carried == 2 ? w0 : w1;
            before += (upper * (uint32_t)channel[5]) << (carried - 1) * field_bits;
        }
    }
    next[0] = (uint32_t)sum;
    next[1] = (uint32_t)(sum >> 32);
    sum += before;
    first[0] = (uint32_t)sum;
    first[1] = (uint32_t)(sum >> 32);
}

#endif
