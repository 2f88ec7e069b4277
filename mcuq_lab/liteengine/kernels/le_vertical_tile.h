/* The tile function of le_vertical.h in plain C: what the assembly computes, for machines without
 * its instructions, and as its oracle.
 *
 * All parameters behind the call are constants after inlining.
 */
#ifndef LE_VERTICAL_TILE_H
#define LE_VERTICAL_TILE_H

#include "le_vertical.h"

/* The assembly needs the DSP extension, registers of a floating-point unit, and Thumb. */
#if LE_ARM_DSP && defined(__ARM_FP) && defined(__thumb2__)
#define LE_VERTICAL_ASSEMBLY 1
_Static_assert(sizeof(le_vertical_call) == 88, "as the assembly has it");
#else
#define LE_VERTICAL_ASSEMBLY 0
#endif

typedef struct {
    unsigned pixels, field_bits;
    unsigned planes;   /* of a segment             */
    unsigned segments; /* before the last one      */
    unsigned out_bits, pre_shift, shift;
} le_vertical_tile_shape;

/* Adds one product of all planes to the sums [pair][output channel]. */
LE_INLINE void le_vertical_products(uint64_t sums[4], const uint32_t *entry, const uint32_t *w,
                                    unsigned product, const le_vertical_tile_shape *shape) {
    for (unsigned plane = 0; plane < shape->planes; ++plane) {
        for (unsigned i = 0; i < 4; ++i) {
            const uint32_t a = entry[LE_VERTICAL_ENTRY * plane + 2 * product + i / 2];
            sums[i] += (uint64_t)((int64_t)(int32_t)a * (int32_t)w[2 * plane + i % 2]);
        }
    }
}

LE_INLINE uint64_t le_vertical_long(uint32_t low, uint32_t high) {
    return low | ((uint64_t)high << 32);
}

/* The two channels of one pixel, side by side. */
LE_INLINE uint32_t le_vertical_outputs(const le_vertical_call *call, const uint32_t sums[2],
                                       const le_vertical_tile_shape *shape) {
    uint32_t low = le_requantize_const((int32_t)sums[0], call->multiplier0, call->offset0,
                                       shape->pre_shift, shape->shift, shape->out_bits);
    uint32_t high = le_requantize_const((int32_t)sums[1], call->multiplier1, call->offset1,
                                        shape->pre_shift, shape->shift, shape->out_bits);
    return low | (high << le_storage_bits(shape->out_bits));
}

LE_INLINE void le_vertical_put(uint8_t *to, const le_vertical_call *call, uint32_t pair,
                               const le_vertical_tile_shape *shape) {
    if (le_storage_bits(shape->out_bits) == 8) {
        le_store16(to, pair);
    } else if (call->upper) {
        *to = (uint8_t)(*to | (pair << 4));
    } else {
        *to = (uint8_t)pair;
    }
}

/* Takes over what the block before carried, leaves what this one does. */
LE_INLINE void le_vertical_carry(uint64_t sums[4], le_vertical_chain *chain, unsigned row,
                                 const le_vertical_tile_shape *shape) {
    for (unsigned i = 0; i < 4; ++i) {
        const uint32_t rest = chain->rest[i % 2] + (row == 0 ? 1u << 31 : 0u);
        uint32_t *carried = &chain->carried[4 * row + i];
        sums[i] += *carried + ((uint64_t)rest << 32);
        *carried = (uint32_t)(sums[i] >> (shape->pixels * shape->field_bits));
    }
}

/* Requantizes one row of each pair, with the sums of the segments before. */
LE_INLINE void le_vertical_rows(const uint64_t sums[4], le_vertical_call *call, unsigned row,
                                const le_vertical_tile_shape *shape) {
    const uint64_t mask = ((uint64_t)1 << shape->field_bits) - 1;
    for (unsigned pair = 0; pair < 2; ++pair) {
        const unsigned y = 2 * pair + row;
        uint8_t *to = call->out[y];
        for (unsigned pixel = 0; pixel < shape->pixels; ++pixel) {
            const unsigned lsb = pixel * shape->field_bits;
            uint32_t totals[2];
            for (unsigned oc = 0; oc < 2; ++oc) {
                totals[oc] = (uint32_t)((sums[2 * pair + oc] >> lsb) & mask);
                for (unsigned k = 0; k < shape->segments; ++k) {
                    const uint32_t *words = call->sums + 16 * k + 8 * row + 4 * pair + 2 * oc;
                    totals[oc] +=
                        (uint32_t)((le_vertical_long(words[0], words[1]) >> lsb) & mask);
                }
            }
            le_vertical_put(pixel == 0 ? call->first[y] : to, call,
                            le_vertical_outputs(call, totals, shape), shape);
            to += pixel == 0 ? 0 : call->step[y];
        }
        call->first[y] = to;
        call->out[y] = to + call->step[y];
    }
}

/* Writes the last column's two channels of the first `rows` rows, `row_bytes` apart: what all
 * segments have carried behind the last tile, and `more`. */
LE_INLINE void le_vertical_flush_rows(const le_vertical_call *call, const uint32_t more[2],
                                      uint8_t *last, uint32_t row_bytes, uint32_t rows,
                                      const le_vertical_tile_shape *shape) {
    const uint32_t mask = (1u << shape->field_bits) - 1u;
    const uint32_t more0 = more[0], more1 = more[1];
    le_vertical_call constants = {.multiplier0 = call->multiplier0,
                                        .offset0 = call->offset0,
                                        .multiplier1 = call->multiplier1,
                                        .offset1 = call->offset1,
                                        .upper = call->upper};
    const uint32_t *carried = call->chains->carried;
    const uint8_t *end = last + rows * row_bytes;
    for (;;) { /* carried is [row of a pair][pair] */
#pragma GCC unroll 2
        for (unsigned row = 0; row < 2; ++row) {
            uint32_t sums[2] = {more0, more1};
            LE_NOT_BEFORE_2(constants.upper, row_bytes); /* one loop for all of their values */
#pragma GCC unroll 8
            for (unsigned k = 0; k <= shape->segments; ++k) {
                const uint32_t *pair = carried + k * (LE_VERTICAL_CHAIN_BYTES / 4) + 4 * row;
                sums[0] += pair[0] & mask;
                sums[1] += pair[1] & mask;
            }
            le_vertical_put(last, &constants, le_vertical_outputs(&constants, sums, shape), shape);
            last += row_bytes;
            if (last == end) {
                return;
            }
        }
        carried += 2;
    }
}

/* The end of one row of each pair, in any segment. */
LE_INLINE void le_vertical_finish(uint64_t sums[4], le_vertical_call *call, unsigned segment,
                                  unsigned row, const le_vertical_tile_shape *shape) {
    le_vertical_carry(sums, &call->chains[segment], row, shape);
    if (segment == shape->segments) {
        le_vertical_rows(sums, call, row, shape);
        return;
    }
    uint32_t *keep = call->sums + 16 * segment + 8 * row;
    for (unsigned i = 0; i < 8; ++i) {
        keep[i] = (uint32_t)(sums[i / 2] >> (32 * (i % 2)));
    }
}

LE_INLINE void le_vertical_tile(le_vertical_call *call, const le_vertical_tile_shape *shape) {
    while (call->a != call->a_end) {
        const uint32_t *w = call->w;
        for (unsigned segment = 0; segment <= shape->segments; ++segment) {
            const uint32_t *entry = (const uint32_t *)(const void *)call->a;
            const uint32_t *begin = call->chains[segment].begin;
            const unsigned next = 2 * shape->planes;
            uint64_t sums[4], differences[4];
            for (unsigned i = 0; i < 4; ++i) {
                sums[i] = le_vertical_long(begin[2 * (i % 2)], begin[2 * (i % 2) + 1]);
                differences[i] = (uint64_t)1 << 63;
            }
            le_vertical_products(sums, entry, w, 0, shape);
            le_vertical_products(differences, entry, w + next, 1, shape);
            for (unsigned i = 0; i < 4; ++i) {
                const uint64_t t = sums[i];
                sums[i] = (t >> 1) + (differences[i] >> 1) + (t & differences[i] & 1);
                differences[i] = t - sums[i];
            }
            le_vertical_products(sums, entry, w + 2 * next, 2, shape);
            le_vertical_finish(sums, call, segment, 0, shape);
            le_vertical_products(differences, entry, w + 3 * next, 3, shape);
            le_vertical_finish(differences, call, segment, 1, shape);
            w += 4 * next;
            call->a += 4 * LE_VERTICAL_ENTRY * shape->planes;
        }
    }
}

#endif
