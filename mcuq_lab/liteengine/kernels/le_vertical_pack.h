/* Before the tiles of le_vertical.h: the combinations of packed rows, and of weight words. */
#ifndef LE_VERTICAL_PACK_H
#define LE_VERTICAL_PACK_H

#include "le_row_unpack.h"
#include "le_vertical.h"

/* Words of an entry where rows d2 to d5 wait to be combined. The others keep what the group before
 * left there: its d4 and d5 are the group's d0 and d1. */
enum { LE_VERTICAL_D2 = 0, LE_VERTICAL_D3 = 2, LE_VERTICAL_D4 = 4, LE_VERTICAL_D5 = 6 };

/* Combines the rows of `count` entries; `before` are those of the group before, or the same. In
 * front of the first group there is none: words 1 and 7 are its d0 and d1. */
LE_INLINE void le_vertical_combine(uint32_t *entry, const uint32_t *before, uint32_t count,
                                   int first) {
    for (; count > 0; --count) {
        const uint32_t sum = before[1], difference = before[3], last = before[7];
        const uint32_t d2 = entry[LE_VERTICAL_D2], d3 = entry[LE_VERTICAL_D3];
        const uint32_t d4 = entry[LE_VERTICAL_D4], d5 = entry[LE_VERTICAL_D5];
        const uint32_t d0 = first ? sum : (sum + difference) >> 1;
        const uint32_t d1 = first ? last : last + (sum - d0);
        entry[0] = d1 + d2;
        entry[1] = d3 + d4;
        entry[2] = d2 - d1;
        entry[3] = d4 - d3;
        entry[4] = d0 - d2;
        entry[5] = d2 - d4;
        entry[6] = d3 - d1;
        entry[7] = d5 - d3;
        entry += LE_VERTICAL_ENTRY;
        before += LE_VERTICAL_ENTRY;
    }
}

/* Start values of output channels `channel` and `channel` + 1 in all segments, from K, K of the
 * uppermost field, and the sum of the uppermost taps of each channel and segment. */
LE_INLINE void le_vertical_start(le_vertical_chain *chain, const le_row_layer *layer,
                                 uint32_t channel, unsigned pixels, unsigned field_bits,
                                 unsigned amax) {
    const unsigned at = (pixels + 1) * field_bits - 32; /* where the uppermost field begins */
    const uint32_t segments = layer->segment_count, unit = (uint32_t)layer->start_unit;
    uint32_t bytes = layer->start_bytes, values = layer->start_values;
    uint64_t ones = 0; /* fields that start with K */
#pragma GCC unroll 8
    for (unsigned field = 2; field <= pixels; ++field) {
        ones |= (uint64_t)1 << (field * field_bits);
    }
    for (uint32_t oc = 0; oc < 2; ++oc) {
        const uint8_t *numbers =
            (const uint8_t *)layer->starts + (channel + oc) * segments * values * bytes;
        le_vertical_chain *to = chain;
        for (uint32_t i = 0; i < segments; ++i) {
            LE_NOT_BEFORE_2(bytes, values); /* one loop, not one for each of their values */
            const uint8_t *last = numbers + (values - 1) * bytes;
            uint32_t k, uppermost;
            int32_t taps;
            if (bytes == 1) {
                k = numbers[0];
                uppermost = numbers[1];
                taps = last[0];
            } else {
                k = le_load32(numbers);
                uppermost = le_load32(numbers + 4);
                taps = (int32_t)le_load32(last);
            }
            k *= unit;
            uppermost *= unit;
            taps += layer->sum_base;
            /* centres T, whose uppermost field is the widest one */
            const uint32_t centre = (uint32_t)((taps * (int32_t)amax) >> 1);
            const uint64_t fields = (ones >> field_bits) * k + (k - uppermost);
            const uint64_t begin = fields << (field_bits + 1);
            uint32_t first = (uppermost << field_bits) + k; /* as if carried */
            if (values == 5 && layer->pad_left) {           /* they see the padding */
                const uint32_t zero_point = (uint32_t)layer->segments[i].zero_point;
                first += ((uint32_t)taps * zero_point) << field_bits;
            }
            to->begin[2 * oc] = (uint32_t)begin;
            to->begin[2 * oc + 1] = (uint32_t)(begin >> 32) - (centre << (at + 1)) + (1u << 31);
            to->rest[oc] = (uppermost + centre) << at;
            to->first[oc] = first;
            numbers = last + bytes;
            ++to;
        }
    }
}

/* The weights of the four products, `next` words apart, from three filter rows. */
LE_INLINE void le_vertical_put_words(volatile uint32_t *to, const uint32_t g[3], unsigned next) {
    const uint32_t outer = g[0] + g[2];
    to[0] = outer + g[1];
    to[next] = outer - g[1];
    to[2 * next] = g[0];
    to[3 * next] = g[2];
}

/* Writes the four products' weights of one input and one output channel, `next` words apart, from
 * nine fields in a run of `words` (filter row, columns 2, 1, 0), with three between two filter
 * rows. */
LE_INLINE void le_vertical_unpack_channel(volatile uint32_t *to, uint32_t *run, unsigned words,
                                          unsigned lsb, unsigned w_bits, unsigned field_bits,
                                          unsigned next, const uint32_t *rows) {
    uint32_t g[3];
    if (w_bits == 2) {
        le_row_three(g, run, lsb, 12, rows);
    } else {
#pragma GCC unroll 3
        for (unsigned ky = 0; ky < 3; ++ky) {
            const unsigned at = lsb + 6 * ky * w_bits;
            const uint32_t w1 = (uint32_t)le_row_field(run, at + w_bits, w_bits, 1);
            const uint32_t w0 = (uint32_t)le_row_field(run, at + 2 * w_bits, w_bits, 1);
            g[ky] = le_row_add((uint32_t)le_row_field(run, at, w_bits, 1), w1, field_bits);
            g[ky] = le_row_add(g[ky], w0, 2 * field_bits);
#pragma GCC unroll 8
            for (unsigned i = 0; i < words; ++i) {
                LE_NOT_BEFORE(run[i]);
            }
        }
    }
    le_vertical_put_words(to, g, next);
}

/* One filter row from weights in pairs, see `row_weights.py`: SMLAD weighs a pair of unsigned
 * fields, 16 bits apart from bit `at` of `pairs` on, by the places of columns 2 and 1, and makes the
 * row signed; column 0 is at bit `lsb` of `singles`. */
LE_INLINE uint32_t le_vertical_row(uint32_t pairs, unsigned at, uint32_t singles, unsigned lsb,
                                   unsigned w_bits, unsigned field_bits, uint32_t mask,
                                   uint32_t places) {
    const uint32_t ones = 1u + (1u << field_bits) + (1u << 2 * field_bits);
    const uint32_t signs = 0u - (ones << (w_bits - 1));
    const uint32_t two = (uint32_t)le_smlad((pairs >> at) & mask, places, (int32_t)signs);
    return le_row_add(two, le_ubfx(singles, lsb, w_bits), 2 * field_bits);
}

/* `le_vertical_unpack_channel` of both output channels and two input channels, 4-bit weights in
 * pairs. */
LE_INLINE void le_vertical_unpack_pairs4(volatile uint32_t *to, const uint8_t *from,
                                         unsigned field_bits, unsigned next, uint32_t mask,
                                         uint32_t places) {
    uint32_t run[5];
#pragma GCC unroll 5
    for (unsigned i = 0; i < 5; ++i) {
        run[i] = i < 4 ? le_load32(from + 4 * i) : le_load16(from + 16);
    }
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; ++i) { /* [input channel][output channel] */
        uint32_t g[3];
#pragma GCC unroll 3
        for (unsigned ky = 0; ky < 3; ++ky) {
            const unsigned row = 3 * i + ky;
            g[ky] = le_vertical_row(run[row / 4], row % 4 * 4, run[3 + row / 8], row % 8 * 4, 4,
                                    field_bits, mask, places);
        }
        le_vertical_put_words(to + i, g, next);
#pragma GCC unroll 5
        for (unsigned k = 0; k < 5; ++k) {
            LE_NOT_BEFORE(run[k]); /* all rows at once would not fit into registers */
        }
    }
}

/* The same of one input channel, 3-bit weights. */
LE_INLINE void le_vertical_unpack_pairs3(volatile uint32_t *to, const uint8_t *from,
                                         unsigned field_bits, unsigned next, uint32_t mask,
                                         uint32_t places) {
    static const uint8_t singles[6] = {10, 13, 16, 19, 26, 29};
    uint32_t front = le_load32(from), back = le_load32(from + 3);
#pragma GCC unroll 2
    for (unsigned oc = 0; oc < 2; ++oc) {
        uint32_t g[3];
#pragma GCC unroll 3
        for (unsigned ky = 0; ky < 3; ++ky) {
            const unsigned row = 3 * oc + ky;
            g[ky] = le_vertical_row(row < 5 ? front : back, row < 5 ? 3 * row : 7, back,
                                    singles[row], 3, field_bits, mask, places);
        }
        le_vertical_put_words(to + oc, g, next);
        LE_NOT_BEFORE_2(front, back);
    }
}

/* Unpacks the weights of two output channels, segments of `planes` planes; those behind the last
 * channel are zeros. `group` channels go at a time, of which `planes` is a multiple, and with weights
 * of more than two bits the number of channels. `pairs`: see le_vertical_row. `rows` as in
 * le_row_three. */
LE_INLINE void le_vertical_unpack(uint32_t *to, const uint8_t *from, const le_row_layer *layer,
                                  unsigned planes, unsigned w_bits, unsigned field_bits,
                                  unsigned group, int pairs, const uint32_t *rows) {
    const unsigned group_bytes = (group * 18 * w_bits + 7) / 8, words = (group_bytes + 3) / 4;
    const unsigned early = w_bits == 4 ? 3 : words; /* words of the first channel */
    const unsigned next = 2 * planes;
    uint32_t run[6], mask = ((1u << w_bits) - 1u) * 0x00010001u, places = 1u | (1u << (16 + field_bits) % 32);
    LE_IN_REGISTER(mask);
    LE_IN_REGISTER(places);
    for (uint32_t left = layer->in_c;;) {
        const uint32_t *end = to + 2 * (left < planes ? left : planes);
        do {
            if (pairs) {
                if (w_bits == 4) {
                    le_vertical_unpack_pairs4(to, from, field_bits, next, mask, places);
                } else {
                    le_vertical_unpack_pairs3(to, from, field_bits, next, mask, places);
                }
                to += 2 * group;
                from += group_bytes;
                continue;
            }
            if (w_bits == 2) {
                le_row_load_threes(run, from);
            } else {
#pragma GCC unroll 8
                for (unsigned i = 0; i < early; ++i) {
                    run[i] = le_load32(from + 4 * i);
                }
            }
#pragma GCC unroll 2
            for (unsigned k = 0; k < group; ++k) { /* an odd channel more: zeros */
                const unsigned at = k * 18 * w_bits;
                const unsigned held = k == 0 ? early : words;
#pragma GCC unroll 2
                for (unsigned i = early; i < held; ++i) {
                    run[i] = le_load32(from + 4 * i);
                }
                le_vertical_unpack_channel(to, run, held, at, w_bits, field_bits, next, rows);
                le_vertical_unpack_channel(to + 1, run, held, at + 3 * w_bits, w_bits, field_bits,
                                           next, rows);
                to += 2;
            }
            from += group_bytes;
        } while (to < end);
        if (left <= planes) {
            break;
        }
        left -= planes;
        to += 3 * next;
    }
    /* fills up the last segment */
    for (uint32_t filled = (layer->in_c + group - 1) / group * group; filled < layer->range;
         ++filled) {
        for (unsigned product = 0; product < 4; ++product) {
            to[product * next] = 0;
            to[product * next + 1] = 0;
            LE_KEEP_LOOP(product);
        }
        to += 2;
    }
}

#endif
