/* Before the tiles of le_vertical.h: the combinations of packed rows, and of weight words. */
#ifndef LE_VERTICAL_PACK_H
#define LE_VERTICAL_PACK_H

#include "le_row_pack.h"
#include "le_vertical.h"

/* Words of an entry where rows d2 to d5 wait to be combined. The others keep what the group before
 * left there: its d4 and d5 are the group's d0 and d1. */
enum { LE_VERTICAL_D2 = 0, LE_VERTICAL_D3 = 2, LE_VERTICAL_D4 = 4, LE_VERTICAL_D5 = 6 };

/* Combines the rows of `count` entries; `before` are those of the group before, or the same. */
LE_INLINE void le_vertical_combine(uint32_t *entry, const uint32_t *before, uint32_t count) {
    for (; count > 0; --count) {
        const uint32_t sum = before[1], difference = before[3], last = before[7];
        const uint32_t d2 = entry[LE_VERTICAL_D2], d3 = entry[LE_VERTICAL_D3];
        const uint32_t d4 = entry[LE_VERTICAL_D4], d5 = entry[LE_VERTICAL_D5];
        const uint32_t d0 = (sum + difference) >> 1;
        const uint32_t d1 = last + (sum - d0);
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

/* Writes the four products' weights of one input and one output channel, `next` words apart, from
 * nine fields (filter row, columns 2, 1, 0), six of which lie between one row and the next. */
LE_INLINE void le_vertical_unpack_channel(volatile uint32_t *to, const uint32_t *run, unsigned lsb,
                                          unsigned w_bits, unsigned field_bits, uint32_t next) {
    uint32_t g[3];
#pragma GCC unroll 3
    for (unsigned ky = 0; ky < 3; ++ky) {
        const unsigned at = lsb + 6 * ky * w_bits;
        g[ky] = (uint32_t)le_row_field(run, at, w_bits, 1);
        g[ky] = le_row_add(g[ky], (uint32_t)le_row_field(run, at + w_bits, w_bits, 1), field_bits);
        g[ky] = le_row_add(g[ky], (uint32_t)le_row_field(run, at + 2 * w_bits, w_bits, 1),
                           2 * field_bits);
    }
    const uint32_t outer = g[0] + g[2];
    to[0] = outer + g[1];
    to[next] = outer - g[1];
    to[2 * next] = g[0];
    to[3 * next] = g[2];
}

/* Unpacks the weights of two output channels; planes behind the last channel are zeros. */
LE_INLINE void le_vertical_unpack(uint32_t *to, const uint8_t *from, const le_row_layer *layer,
                                  unsigned w_bits, unsigned field_bits) {
    const unsigned group = w_bits == 2 ? 2 : 1;
    const unsigned group_bytes = (group * 18 * w_bits + 7) / 8;
    const uint32_t planes = layer->range / layer->segment_count;
    const uint32_t next = 2 * planes;
    uint32_t left = planes, run[6];
    for (uint32_t channel = 0; channel < layer->range; channel += group) {
        if (channel < layer->in_c) {
#pragma GCC unroll 8
            for (unsigned i = 0; i < (group_bytes + 3) / 4; ++i) {
                run[i] = le_load32(from + 4 * i);
            }
            from += group_bytes;
        } else {
#pragma GCC unroll 8
            for (unsigned i = 0; i < 6; ++i) {
                run[i] = 0;
            }
        }
#pragma GCC unroll 2
        for (unsigned k = 0; k < group; ++k) {
            if (k > 0 && channel + k >= layer->range) {
                break;
            }
            le_vertical_unpack_channel(to, run, k * 18 * w_bits, w_bits, field_bits, next);
            le_vertical_unpack_channel(to + 1, run, (k * 18 + 3) * w_bits, w_bits, field_bits, next);
            to += 2;
            if (--left == 0) {
                to += 3 * next;
                left = planes;
            }
        }
    }
}

#endif
