/* Packing one input row, and unpacking the weights of two output channels, for the row polynomial.
 *
 * All parameters behind the layer are constants after inlining.
 */
#ifndef LE_ROW_PACK_H
#define LE_ROW_PACK_H

#include "le_row_polynomial.h"

/* A, from `pixels` words that hold neighbouring pixels' channels. */
LE_INLINE uint32_t le_row_word(const uint32_t *fields, unsigned lsb, unsigned bits,
                               unsigned pixels, unsigned field_bits, unsigned toggle) {
    uint32_t word = toggle ? 1u << 31 : 0u;
    uint32_t sum = le_ubfx(fields[0], lsb, bits);
#pragma GCC unroll 8
    for (unsigned i = 1; i < pixels; ++i) {
        sum |= le_ubfx(fields[i], lsb, bits) << (i * field_bits);
    }
    return sum ^ word;
}

/* Packs the channels of one block into its entries; `first` is the entry of channel 0. */
LE_INLINE void le_row_pack_block(uint32_t *first, const uint8_t *const *pixel, uint32_t channels,
                                 uint32_t round_words, unsigned storage, unsigned low,
                                 unsigned bits, unsigned pixels, unsigned field_bits,
                                 unsigned toggle, unsigned words, unsigned slots,
                                 unsigned unroll) {
    const unsigned group = 32 / storage;
    uint32_t fields[8];
    uint32_t *to = first;
    uint32_t channel = 0;
    if (words == 1 || unroll % group == 0) {
        for (; channel + group <= channels; channel += group) {
#pragma GCC unroll 8
            for (unsigned i = 0; i < pixels; ++i) {
                fields[i] = le_load32(pixel[i] + channel * storage / 8);
            }
#pragma GCC unroll 16
            for (unsigned k = 0; k < group; ++k) {
                to[k * slots] = le_row_word(fields, k * storage + low, bits, pixels, field_bits,
                                            toggle);
            }
            to += group * slots;
            if (words == 2 && (channel + group) % unroll == 0) {
                to += round_words - unroll * slots;
            }
        }
    }
    for (; channel < channels; ++channel) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < pixels; ++i) {
            fields[i] = le_get_field(pixel[i], channel, storage);
        }
        *to = le_row_word(fields, low, bits, pixels, field_bits, toggle);
        to += slots;
        if (words == 2 && (channel + 1) % unroll == 0) {
            to += round_words - unroll * slots;
        }
    }
}

/* Packs one row into a slot. `entry` is the slot's word in the first entry, `row` the first pixel
 * or 0 for a row of padding, `pad` a pixel of padding. */
LE_INLINE void le_row_pack(uint32_t *entry, const uint8_t *row, const uint8_t *pad,
                           const le_row_layer *layer, unsigned storage, unsigned low,
                           unsigned bits, unsigned pixels, unsigned field_bits, unsigned toggle,
                           unsigned words, unsigned slots, unsigned unroll, unsigned slices) {
    const uint32_t pixel_bytes = le_pixel_bytes(layer->in_c, storage);
    const uint32_t round_words = le_row_round_words(layer, slots, unroll);
    const uint32_t block_words = words == 2 ? unroll * slots : slices * layer->padded_c * slots;
    uint32_t inside = row ? layer->in_w : 0;
    uint32_t blocks = layer->blocks;
    const uint8_t *pixel[8];
    if (words == 2) { /* block -1 lies in the padding */
        for (unsigned i = 0; i < pixels; ++i) {
            pixel[i] = pad;
        }
        le_row_pack_block(entry, pixel, layer->in_c, round_words, storage, low, bits, pixels,
                          field_bits, toggle, words, slots, unroll);
        entry += block_words;
    }
    for (; blocks > 0; --blocks) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < pixels; ++i) {
            if (inside > 0) {
                pixel[i] = row;
                row += pixel_bytes;
                inside -= 1;
            } else {
                pixel[i] = pad;
            }
        }
        le_row_pack_block(entry, pixel, layer->in_c, round_words, storage, low, bits, pixels,
                          field_bits, toggle, words, slots, unroll);
        entry += block_words;
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

/* Weight words of one input channel from its 18 fields (filter row, output channel, columns 2, 1,
 * 0) that begin at bit `lsb` of `run`. */
LE_INLINE void le_row_unpack_channel(uint32_t *to, const uint32_t *run, unsigned lsb,
                                     unsigned w_bits, unsigned low, unsigned bits,
                                     unsigned field_bits, unsigned words) {
    const int is_signed = low + bits == w_bits;
#pragma GCC unroll 8
    for (unsigned i = 0; i < 6; ++i) {
        unsigned at = lsb + low + 3 * i * w_bits;
        uint32_t w2 = (uint32_t)le_row_field(run, at, bits, is_signed);
        uint32_t w1 = (uint32_t)le_row_field(run, at + w_bits, bits, is_signed);
        uint32_t w0 = (uint32_t)le_row_field(run, at + 2 * w_bits, bits, is_signed);
        if (words == 1) {
            to[i] = w2 + (w1 << field_bits) + (w0 << 2 * field_bits);
        } else {
            to[i] = w2 + (w1 << field_bits);
            to[6 + i] = w0;
        }
    }
}

/* Unpacks all input channels of two output channels.
 *
 * In flash, 18 fields of one input channel are a stream that begins on a byte (2-bit weights: two
 * input channels). `cut` is the weight slices' border: slice 0 is bits [cut, w_bits), slice 1 bits
 * [0, cut); 0 for a single slice. */
LE_INLINE void le_row_unpack(uint32_t *to, const uint8_t *from,
                             const le_row_layer *layer, unsigned w_bits, unsigned cut,
                             unsigned field_bits, unsigned words) {
    const unsigned group = w_bits == 2 ? 2 : 1;
    const unsigned group_bytes = (group * 18 * w_bits + 7) / 8;
    const uint32_t slice_words = layer->padded_c * 6u * words;
    uint32_t *end = to + slice_words;
    uint32_t run[6];
    for (uint32_t channel = 0; channel < layer->in_c; channel += group) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < (group_bytes + 3) / 4; ++i) {
            run[i] = le_load32(from + 4 * i);
        }
        from += group_bytes;
#pragma GCC unroll 2
        for (unsigned k = 0; k < group; ++k) {
            if (k > 0 && channel + k >= layer->padded_c) {
                break; /* an odd number of channels, and no padding */
            }
            le_row_unpack_channel(to, run, k * 18 * w_bits, w_bits, cut, w_bits - cut, field_bits,
                                  words);
            if (cut > 0) {
                le_row_unpack_channel(to + slice_words, run, k * 18 * w_bits, w_bits, 0, cut,
                                      field_bits, words);
            }
            to += 6 * words;
        }
    }
    for (; to < end; ++to) {
        *to = 0;
        if (cut > 0) {
            to[slice_words] = 0;
        }
        LE_KEEP_LOOP(to);
    }
}

#endif
