/* Before the tiles of the row polynomial: unpacking the weights of two output channels, and the
 * accumulators' start values.
 *
 * All parameters behind the layer are constants after inlining.
 */
#ifndef LE_ROW_UNPACK_H
#define LE_ROW_UNPACK_H

#include "le_row_pack.h"

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
