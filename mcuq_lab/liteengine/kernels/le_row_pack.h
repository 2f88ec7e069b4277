/* Before the tiles of the row polynomial: packing one input row.
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

#endif
