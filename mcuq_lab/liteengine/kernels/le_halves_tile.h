/* The tile function of the halves in plain C: what the assembly computes, for machines without its
 * instructions, and as its oracle.
 *
 * All parameters behind the call are constants after inlining.
 */
#ifndef LE_HALVES_TILE_H
#define LE_HALVES_TILE_H

#include "le_halves.h"

/* The assembly needs the DSP extension, registers of a floating-point unit, and Thumb. */
#if LE_ARM_DSP && defined(__ARM_FP) && defined(__thumb2__)
#define LE_HALVES_ASSEMBLY 1
_Static_assert(sizeof(le_halves_run) == 12 && sizeof(le_halves_part) == 20 &&
                   sizeof(le_halves_call) == 88,
               "as the assembly has it");
#else
#define LE_HALVES_ASSEMBLY 0
#endif

typedef struct {
    uint8_t low, bits; /* of a field: channels in turn, of each the pixels */
} le_halves_field;

typedef struct {
    unsigned pixels, channels, bytes, surplus;
    le_halves_field fields[4];
    unsigned out_bits, pre_shift, shift;
} le_halves_shape;

/* Moves the fields of an accumulator to the totals, all of them or all but one that ends with the
 * word; returns what is left of it. */
LE_INLINE uint32_t le_halves_hand_on(uint32_t *totals, uint32_t sum, int all,
                                     const le_halves_shape *shape) {
    for (unsigned f = 0; f < shape->pixels * shape->channels; ++f) {
        const le_halves_field field = shape->fields[f];
        if (all || field.low + field.bits < 32) {
            uint32_t value = le_ubfx(sum, field.low, field.bits);
            totals[f] += value;
            sum -= value << field.low;
        }
    }
    return sum;
}

/* Adds start values and products of one part to the accumulators, [word of channels * 2 + word of
 * pixels], of the last one what surplus takes off, too; returns the weights of the next part. */
LE_INLINE const uint32_t *le_halves_sums(uint32_t sums[8], const uint32_t *a, const uint32_t *w,
                                         const le_halves_part *part, int last,
                                         const le_halves_shape *shape) {
    for (unsigned i = 0; i < 8; ++i) {
        sums[i] += part->first[i / 2];
    }
    while ((const uint8_t *)w != part->w_end) {
        for (unsigned i = 0; i < 8; ++i) {
            uint32_t weight = shape->bytes ? w[i / 4] : w[i / 2];
            if (shape->bytes && i / 2 % 2 == 0) {
                weight = shape->surplus ? le_uxtb16(weight, 0) : le_sxtb16(weight, 0);
            }
            sums[i] = (uint32_t)le_smlad(a[i % 2], weight, (int32_t)sums[i]);
        }
        a += 2;
        w += shape->bytes ? 2 : 4;
    }
    for (unsigned i = 0; shape->bytes && i < 8; ++i) {
        if (i / 2 % 2 == 1) {
            sums[i] = (sums[i] - sums[i - 2]) >> 8;
            sums[i - 2] += shape->surplus && last ? a[i % 2] : 0; /* behind the group */
        }
    }
    return w;
}

LE_INLINE void le_halves_tile(le_halves_call *call, const le_halves_shape *shape) {
    const unsigned fields = shape->pixels * shape->channels;
    const unsigned storage = le_storage_bits(shape->out_bits);
    const unsigned pixel_bits = 4 * shape->channels * storage;
    const uint32_t *a = (const uint32_t *)(const void *)call->a;
    for (uint32_t r = 0; r < call->run_count; ++r) {
        le_halves_run run = call->runs[r];
        while ((const uint8_t *)a != run.a_end) {
            const uint32_t *w = (const uint32_t *)(const void *)call->w;
            uint32_t sums[8], totals[8][4]; /* of each sum, its fields */
            for (unsigned i = 0; i < 8; ++i) {
                sums[i] = totals[i][0] = totals[i][1] = totals[i][2] = totals[i][3] = 0;
                LE_KEEP_LOOP(i);
            }
            const le_halves_part *part = call->parts;
            for (int last = 0; !last; ++part) {
                const uint32_t *begin = w;
                last = part->w_end == call->w_end;
                w = le_halves_sums(sums, a, w, part, last, shape);
                a += (w - begin) / (shape->bytes ? 1 : 2) + (shape->surplus && last ? 2 : 0);
                for (unsigned i = 0; i < 8; ++i) {
                    int all = last || shape->bytes;
                    sums[i] = le_halves_hand_on(totals[i], sums[i], all, shape);
                }
            }
            for (unsigned pixel = 0; pixel < 2 * shape->pixels; ++pixel) {
                uint64_t bits = 0;
                for (unsigned oc = 0; oc < 4 * shape->channels; ++oc) {
                    unsigned word = oc / shape->channels * 2 + pixel / shape->pixels;
                    unsigned field = oc % shape->channels * shape->pixels + pixel % shape->pixels;
                    uint32_t sum = totals[word][field < fields ? field : 0];
                    uint64_t y = le_requantize_const((int32_t)sum, call->requantize[2 * oc],
                                                     call->requantize[2 * oc + 1],
                                                     shape->pre_shift, shape->shift,
                                                     shape->out_bits);
                    bits |= y << (oc * storage);
                }
                for (unsigned i = 0; i < pixel_bits / 8; ++i) {
                    run.out[i] = (uint8_t)(bits >> (8 * i));
                }
                run.out += run.step;
            }
        }
    }
}

#endif
