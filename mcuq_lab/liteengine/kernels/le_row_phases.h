/* The weight words of a row polynomial with stride 2: two taps of either phase, see
 * packing/phases.py.
 *
 * All parameters behind the layer are constants after inlining.
 */
#ifndef LE_ROW_PHASES_H
#define LE_ROW_PHASES_H

#include "le_row_pack.h"

/* Weight words of both planes of one input channel, slice [low, low + bits), from its 18 fields
 * (filter row, output channel, columns 2, 1, 0) that begin at bit `lsb` of `run`. Columns 2 and 0
 * belong to one phase; column 1, the upper tap of the other phase or with padding its lower one,
 * is alone. */
LE_INLINE void le_row_phases_channel(volatile uint32_t *to, const uint32_t *run, unsigned lsb,
                                     unsigned w_bits, unsigned low, unsigned bits,
                                     unsigned field_bits, int padded) {
    const int is_signed = low + bits == w_bits;
    volatile uint32_t *two = to + (padded ? 6 : 0), *one = to + (padded ? 0 : 6);
#pragma GCC unroll 8
    for (unsigned i = 0; i < 6; ++i) {
        unsigned at = lsb + low + 3 * i * w_bits;
        uint32_t w2 = (uint32_t)le_row_field(run, at, bits, is_signed);
        uint32_t w1 = (uint32_t)le_row_field(run, at + w_bits, bits, is_signed);
        uint32_t w0 = (uint32_t)le_row_field(run, at + 2 * w_bits, bits, is_signed);
        two[i] = le_row_add(w2, w0, field_bits);
        one[i] = padded ? w1 : w1 << field_bits;
    }
}

/* Unpacks all input channels of two output channels, and zeros up to whole rounds of planes; as
 * `le_row_unpack` but for the words' form. */
LE_INLINE void le_row_phases_unpack(uint32_t *to, const uint8_t *from, const le_row_layer *layer,
                                    unsigned w_bits, unsigned cut, unsigned field_bits,
                                    int padded) {
    const unsigned group = w_bits == 2 ? 2 : 1;
    const unsigned group_bytes = (group * 18 * w_bits + 7) / 8;
    const uint32_t second = layer->range * 6u;
    uint32_t *end = to + second;
    uint32_t run[6];
    for (uint32_t channel = 0; channel < layer->in_c; channel += group) {
#pragma GCC unroll 8
        for (unsigned i = 0; i < (group_bytes + 3) / 4; ++i) {
            run[i] = le_load32(from + 4 * i);
        }
        from += group_bytes;
#pragma GCC unroll 2
        for (unsigned k = 0; k < group; ++k) {
            if (k > 0 && channel + k == layer->in_c) {
                break; /* an odd number of channels */
            }
            le_row_phases_channel(to, run, k * 18 * w_bits, w_bits, cut, w_bits - cut, field_bits,
                                  padded);
            if (cut > 0) {
                le_row_phases_channel(to + second, run, k * 18 * w_bits, w_bits, 0, cut,
                                      field_bits, padded);
            }
            to += 12;
        }
    }
    for (; to < end; ++to) {
        *to = 0;
        if (cut > 0) {
            to[second] = 0;
        }
        LE_KEEP_LOOP(to);
    }
}

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

/* The same for whole operands of channels in lanes, which are neighbours in flash. */
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

/* `le_row_start` for channels in lanes: a sum is two of 32 bits, the second one goes on from what
 * the first one carries. */
LE_INLINE void le_row_lanes_start(uint32_t next[2], uint32_t first[2], const int32_t *channel,
                                  const le_row_layer *layer, unsigned field_bits) {
    const uint32_t k = (uint32_t)channel[0], uppermost = (uint32_t)channel[1];
    const uint32_t sum = (k - uppermost) + (k << field_bits) + (uppermost << 2 * field_bits);
    uint32_t before = uppermost; /* as if carried */
    if (layer->segment_words > 2 && layer->pad_left) {
        before += (uint32_t)channel[3] * (uint32_t)channel[5]; /* the upper taps see the padding */
    }
    next[0] = next[1] = first[1] = sum;
    first[0] = sum + before;
}

#endif
