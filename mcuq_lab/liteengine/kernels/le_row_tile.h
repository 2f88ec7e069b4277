/* The tile function of the row polynomial in plain C: what the assembly computes, for machines
 * without its instructions, and as its oracle.
 *
 * All parameters behind the call are constants after inlining.
 */
#ifndef LE_ROW_TILE_H
#define LE_ROW_TILE_H

#include "le_row_polynomial.h"

/* The assembly needs the DSP extension, registers of a floating-point unit, and Thumb. */
#if LE_ARM_DSP && defined(__ARM_FP) && defined(__thumb2__)
#define LE_ROW_ASSEMBLY 1
_Static_assert(sizeof(le_row_run) == LE_ROW_RUN_BYTES && sizeof(le_row_call) == 36 &&
                   sizeof(le_row_kept) == 44,
               "as the assembly has it");
#else
#define LE_ROW_ASSEMBLY 0
#endif

typedef struct {
    unsigned depthwise, stride, lanes;
    unsigned pixels, field_bits, words, slots;
    unsigned segments;   /* before the last one                    */
    unsigned shift_of[8]; /* what counts 2^shift times of these    */
    unsigned has_surplus;
    unsigned out_bits, pre_shift, shift;
} le_row_tile_shape;

/* Adds twelve products to the accumulators [row][channel]: an entry of all rows, six weights
 * [filter row][output channel]. */
LE_INLINE void le_row_tile_products(uint64_t sums[4], const uint32_t *entry, const uint32_t *w,
                                    const le_row_tile_shape *shape) {
    for (unsigned i = 0; i < 12; ++i) {
        unsigned ky = i / 4, row = i / 2 % 2, oc = i % 2;
        uint32_t a = entry[ky + row * shape->stride + (shape->depthwise ? oc * shape->slots : 0)];
        sums[2 * row + oc] += (uint64_t)((int64_t)(int32_t)a * (int32_t)w[2 * ky + oc]);
    }
}

/* The same for one phase of two channels in lanes: each sum is two of 32 bits, one an entry. */
LE_INLINE void le_row_tile_lanes(uint64_t sums[4], const uint32_t *entry, const uint32_t *w,
                                 const le_row_tile_shape *shape) {
    for (unsigned i = 0; i < 12; ++i) {
        unsigned ky = i / 4, row = i / 2 % 2, oc = i % 2;
        const uint32_t *a = &entry[ky + row * shape->stride];
        uint64_t *sum = &sums[2 * row + oc];
        uint32_t low = (uint32_t)le_smlad(a[0], w[2 * ky + oc], (int32_t)(uint32_t)*sum);
        uint32_t high = (uint32_t)le_smlad(a[shape->slots], w[2 * ky + oc],
                                           (int32_t)(uint32_t)(*sum >> 32));
        *sum = low | ((uint64_t)high << 32);
    }
}

/* A finished field of a sum. */
LE_INLINE uint32_t le_row_tile_field(uint64_t sum, unsigned pixel,
                                     const le_row_tile_shape *shape) {
    const unsigned s = shape->field_bits;
    const uint64_t mask = ((uint64_t)1 << s) - 1;
    if (shape->lanes == 2) {
        uint32_t word = (uint32_t)(pixel < 2 ? sum : sum >> 32);
        uint32_t carried = pixel == 2 ? (uint32_t)sum >> (2 * s) : 0;
        return ((word >> (pixel % 2 * s)) & (uint32_t)mask) + carried;
    }
    return (uint32_t)((sum >> (pixel * s)) & mask);
}

/* Adds the products of one tile; returns the entries of the next one. */
LE_INLINE const uint8_t *le_row_tile_sums(uint64_t sums[4], const uint8_t *a, int32_t a_skip,
                                          const le_row_run *run,
                                          const le_row_tile_shape *shape) {
    const uint32_t *entry = (const uint32_t *)(const void *)a;
    const uint32_t *w = (const uint32_t *)(const void *)run->w;
    const uint32_t *w_end = (const uint32_t *)(const void *)run->w_end;
    if (shape->depthwise) {
        for (unsigned word = 0; word < shape->words; ++word) {
            le_row_tile_products(sums, entry + 2 * word * shape->slots, w + 6 * word, shape);
        }
        return a + a_skip;
    }
    do {
        if (shape->lanes == 2) {
            le_row_tile_lanes(sums, entry, w, shape);
        } else {
            le_row_tile_products(sums, entry, w, shape);
        }
        entry += shape->lanes * shape->slots;
        w += 6;
    } while (w != w_end);
    return (const uint8_t *)entry + a_skip;
}

/* The two channels of one pixel, side by side. */
LE_INLINE uint32_t le_row_outputs(const le_row_call *call, const uint32_t sums[2],
                                  const le_row_tile_shape *shape) {
    uint32_t low = le_requantize_const((int32_t)sums[0], call->multiplier0, call->offset0,
                                       shape->pre_shift, shape->shift, shape->out_bits);
    uint32_t high = le_requantize_const((int32_t)sums[1], call->multiplier1, call->offset1,
                                        shape->pre_shift, shape->shift, shape->out_bits);
    return low | (high << le_storage_bits(shape->out_bits));
}

/* Writes one pixel's two channels. */
LE_INLINE void le_row_tile_put(uint8_t *to, const le_row_call *call, const uint32_t sums[2],
                               const le_row_tile_shape *shape) {
    uint32_t pair = le_row_outputs(call, sums, shape);
    if (le_storage_bits(shape->out_bits) == 8) {
        le_store16(to, pair);
    } else if (call->upper) {
        *to = (uint8_t)(*to | (pair << 4));
    } else {
        *to = (uint8_t)pair;
    }
}

/* Requantizes the finished fields of the accumulators, and of those of the segments before, which
 * are at `before`, to the output. */
LE_INLINE void le_row_tile_last(const uint64_t sums[4], const le_row_call *call,
                                const uint32_t *before, le_row_run *run,
                                const le_row_tile_shape *shape) {
    for (unsigned i = 0; i < 2 * shape->pixels; ++i) {
        const unsigned row = i / shape->pixels, pixel = i % shape->pixels;
        uint32_t totals[2];
        for (unsigned oc = 0; oc < 2; ++oc) {
            uint32_t total = le_row_tile_field(sums[2 * row + oc], pixel, shape);
            for (unsigned k = 0; k < shape->segments; ++k) {
                const uint32_t *words = before + 8 * k + 4 * row + 2 * oc;
                const uint64_t sum = words[0] | ((uint64_t)words[1] << 32);
                total += le_row_tile_field(sum, pixel, shape) << shape->shift_of[k];
            }
            totals[oc] = total - (shape->has_surplus ? call->surplus[oc] : 0);
        }
        le_row_tile_put(row ? run->out1 : run->out0, call, totals, shape);
        run->out0 += row ? 0 : run->step0;
        run->out1 += row ? run->step1 : 0;
    }
}

LE_INLINE void le_row_tile(le_row_call *call, const le_row_tile_shape *shape) {
    const uint8_t *a = 0;
    uint32_t *before = 0;
    uint64_t sums[4] = {0, 0, 0, 0};
    for (uint32_t r = 0; r < call->run_count; ++r) {
        le_row_run run = call->runs[r];
        const le_row_chain *chain = run.chain;
        if (run.a) {
            a = run.a;
            before = (uint32_t *)chain->sums;
            for (unsigned i = 0; i < 4; ++i) {
                const uint32_t *first = &chain->first[2 * (i % 2)];
                sums[i] = first[0] | ((uint64_t)first[1] << 32);
            }
        }
        do {
            a = le_row_tile_sums(sums, a, chain->a_skip, &run, shape);
            if (chain->is_last) {
                le_row_tile_last(sums, call, before, &run, shape);
            } else {
                for (unsigned i = 0; i < 8; ++i) {
                    before[i] = (uint32_t)(sums[i / 2] >> (32 * (i % 2)));
                }
            }
            before = before ? before + 8 * shape->segments : before;
            for (unsigned i = 0; i < 4; ++i) {
                const uint32_t *next = &chain->next[2 * (i % 2)];
                sums[i] >>= shape->lanes == 2 ? 32 + 2 * shape->field_bits
                                              : shape->pixels * shape->field_bits;
                sums[i] = (uint32_t)sums[i] + (next[0] | ((uint64_t)next[1] << 32));
            }
        } while (a != run.a_end);
        for (unsigned i = 0; i < 4; ++i) {
            call->runs[r].carried[i] = (uint32_t)sums[i];
        }
    }
}

/* One tile of channels in lanes, all segments of it: leaves their accumulators in `kept`; returns the entries of the next tile. */
LE_INLINE const uint8_t *le_row_nested_sums(const uint8_t *a, const uint8_t *w,
                                            le_row_kept *kept, const le_row_tile_shape *shape) {
    for (unsigned k = 0; k <= shape->segments; ++k) {
        const le_row_run run = {.w = w, .w_end = kept->w_end};
        uint64_t sums[4];
        for (unsigned i = 0; i < 4; ++i) {
            const uint32_t next = kept->next[i % 2];
            sums[i] = next | ((uint64_t)next << 32);
        }
        a = le_row_tile_sums(sums, a, 0, &run, shape);
        for (unsigned i = 0; i < 8; ++i) {
            kept->sums[i] = (uint32_t)(sums[i / 2] >> (32 * (i % 2)));
        }
        w = kept->w_end;
        ++kept;
    }
    return a;
}

/* `le_row_tile` where each tile runs all segments; what is carried are sums of all of them. */
LE_INLINE void le_row_tile_nested(le_row_call *call, const le_row_tile_shape *shape) {
    const uint8_t *a = 0;
    uint32_t carried[4] = {0, 0, 0, 0};
    for (uint32_t r = 0; r < call->run_count; ++r) {
        le_row_run run = call->runs[r];
        if (run.a) {
            a = run.a;
            for (unsigned i = 0; i < 4; ++i) {
                carried[i] = call->surplus[i % 2];
            }
        }
        do {
            le_row_kept *kept = (le_row_kept *)run.chain->sums;
            a = le_row_nested_sums(a, run.w, kept, shape);
            uint32_t totals[4][4], behind[4] = {0, 0, 0, 0}; /* [pixel][row, channel] */
            for (unsigned i = 0; i < 4; ++i) {
                for (unsigned pixel = 0; pixel < 4; ++pixel) {
                    totals[pixel][i] = pixel == 0 ? carried[i] : 0;
                    for (unsigned k = 0; k <= shape->segments; ++k) {
                        const uint32_t *words = kept[k].sums + 2 * i;
                        const uint64_t sum = words[0] | ((uint64_t)words[1] << 32);
                        totals[pixel][i] += le_row_tile_field(sum, pixel, shape);
                        behind[i] += pixel == 0 ? words[1] >> (2 * shape->field_bits) : 0;
                    }
                }
                carried[i] = behind[i];
            }
            for (unsigned pixel = 0; pixel < 4; ++pixel) {
                le_row_tile_put(run.out0, call, totals[pixel], shape);
                le_row_tile_put(run.out1, call, totals[pixel] + 2, shape);
                run.out0 += run.step0;
                run.out1 += run.step1;
            }
        } while (a != run.a_end);
        for (unsigned i = 0; i < 4; ++i) {
            call->runs[r].carried[i] = carried[i];
        }
    }
}

#endif
