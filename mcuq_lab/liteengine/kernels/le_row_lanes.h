/* Weight words and start values of a row polynomial with stride 2 whose channels lie in lanes, see
 * packing/lanes.py.
 *
 * All parameters behind the layer are constants after inlining.
 */
#ifndef LE_ROW_LANES_H
#define LE_ROW_LANES_H

#include "le_row_unpack.h"

/* Both taps of one phase of two channels, [lane], from three weights each at bit `at`. */
LE_INLINE void le_row_lanes_channels(volatile uint32_t *to, const uint32_t *const runs[2],
                                     const unsigned lsb[2], unsigned w_bits, unsigned field_bits,
                                     int padded) {
    volatile uint32_t *two = to + (padded ? 6 : 0), *one = to + (padded ? 0 : 6);
#pragma GCC unroll 8
    for (unsigned i = 0; i < 6; ++i) {
        uint32_t pair[2], single[2];
#pragma GCC unroll 2
        for (unsigned lane = 0; lane < 2; ++lane) {
            unsigned at = lsb[lane] + 3 * i * w_bits;
            uint32_t w2 = (uint32_t)le_row_field(runs[lane], at, w_bits, 1);
            uint32_t w1 = (uint32_t)le_row_field(runs[lane], at + w_bits, w_bits, 1);
            uint32_t w0 = (uint32_t)le_row_field(runs[lane], at + 2 * w_bits, w_bits, 1);
            pair[lane] = le_row_add(w2, w0, field_bits);
            single[lane] = padded ? w1 : w1 << field_bits;
        }
        two[i] = le_pkhbt(pair[0], pair[1], 16);
        one[i] = le_pkhbt(single[0], single[1], 16);
    }
}

/* Unpacks all input channels of two output channels, and zeros up to whole rounds of planes;
 * channels in lanes are neighbours in flash. */
LE_INLINE void le_row_lanes_unpack(uint32_t *to, const uint8_t *from, const le_row_layer *layer,
                                   unsigned w_bits, unsigned field_bits, int padded) {
    const unsigned streams = w_bits == 2 ? 1 : 2; /* of two channels */
    const unsigned stream_bytes = (36 / streams * w_bits + 7) / 8;
    const uint32_t *end = to + layer->range * 6u;
    uint32_t runs[2][6];
    const uint32_t *const starts[2] = {runs[0], runs[streams - 1]};
    const unsigned lsb[2] = {0, streams == 1 ? 18 * w_bits : 0};
    for (uint32_t channel = 0; channel < layer->in_c; channel += 2) {
#pragma GCC unroll 2
        for (unsigned k = 0; k < streams; ++k) {
#pragma GCC unroll 8
            for (unsigned i = 0; i < (stream_bytes + 3) / 4; ++i) {
                runs[k][i] = le_load32(from + 4 * i);
            }
            from += stream_bytes;
        }
        le_row_lanes_channels(to, starts, lsb, w_bits, field_bits, padded);
        to += 12;
    }
    for (; to < end; ++to) {
        *to = 0;
        LE_KEEP_LOOP(to);
    }
}

/* The same where fields of two channels lie in flash as their lanes will, in the halves of a word:
 * both are masked out at once, without sign, and made signed by a subtraction in both lanes. Fields
 * are in the order of le_row_unpack, as many in each half as have room; the last two of both
 * channels stand side by side. 2 or 4 bits wide; field_bits + w_bits <= 16. */
LE_INLINE void le_row_lanes_unpack_halves(uint32_t *words, const uint8_t *from,
                                          const le_row_layer *layer, unsigned w_bits,
                                          unsigned field_bits, int padded) {
    const unsigned bytes = 18 * w_bits / 4, whole = bytes / 4, in_half = 16 / w_bits;
    const uint32_t sign = (1u << (w_bits - 1)) * 0x00010001u;
    const uint32_t signs = sign + (sign << field_bits);
    uint32_t mask = ((1u << w_bits) - 1u) * 0x00010001u;
    volatile uint32_t *to = words;
    const uint32_t *end = words + layer->range * 6u;
    LE_IN_REGISTER(mask);
    for (uint32_t channel = 0; channel < layer->in_c; channel += 2) {
        uint32_t run[5];
#pragma GCC unroll 4
        for (unsigned i = 0; i < whole; ++i) {
            run[i] = le_load32(from + 4 * i);
        }
        const uint32_t last = w_bits == 4 ? le_load16(from + 16) : from[8];
        run[whole] = last | (last << (16 - 2 * w_bits));
        from += bytes;
        volatile uint32_t *two = to + (padded ? 6 : 0), *one = to + (padded ? 0 : 6);
#pragma GCC unroll 6
        for (unsigned i = 0; i < 6; ++i) {
            uint32_t taps[3];
#pragma GCC unroll 3
            for (unsigned k = 0; k < 3; ++k) {
                const unsigned number = 3 * i + k;
                taps[k] = (run[number / in_half] >> (number % in_half * w_bits)) & mask;
            }
            two[i] = le_ssub16(le_row_add(taps[0], taps[2], field_bits), signs);
            const unsigned upper = padded ? 0 : field_bits;
            one[i] = le_ssub16(taps[1] << upper, sign << upper);
        }
        to += 12;
    }
    while (to != end) {
        *to++ = 0;
    }
}

/* `le_row_start` for channels in lanes: a sum is two of 32 bits, the second one goes on from what
 * the first one carries. */
LE_INLINE void le_row_lanes_start(uint32_t next[2], uint32_t first[2], const int32_t *channel,
                                  const le_row_layer *layer, unsigned field_bits) {
    const uint32_t k = (uint32_t)channel[0], uppermost = (uint32_t)channel[1];
    const uint32_t sum = (k - uppermost) + (k << field_bits) + (uppermost << 2 * field_bits);
    uint32_t before = uppermost; /* as if carried */
    if (layer->start_values > 2 && layer->pad_left) {
        before += (uint32_t)channel[3] * (uint32_t)channel[5]; /* the upper taps see the padding */
    }
    next[0] = next[1] = first[1] = sum;
    first[0] = sum + before;
}

#endif
