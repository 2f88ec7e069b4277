/* The tile function of folded depthwise convolutions in plain C: what the assembly computes, for
 * machines without its instructions, and as its oracle.
 */
#ifndef LE_FOLD_TILE_H
#define LE_FOLD_TILE_H

#include "le_fold.h"

/* The assembly needs the DSP extension, registers of a floating-point unit, and Thumb. */
#if LE_ARM_DSP && defined(__ARM_FP) && defined(__thumb2__)
#define LE_FOLD_ASSEMBLY 1
_Static_assert(sizeof(le_fold_call) == 36, "as the assembly has it");
#else
#define LE_FOLD_ASSEMBLY 0
#endif

typedef struct {
    unsigned kernel, stride;
    unsigned group; /* words from one row to the next */
    unsigned folds, field_bits;
    unsigned out_bits, pre_shift, shift;
    unsigned narrow, offset_shift; /* of the constants */
} le_fold_shape;

/* Constants of one channel, where `start` is that of all folds. */
LE_INLINE le_requantize le_fold_constants(const uint32_t *words, const le_fold_shape *shape) {
    le_requantize channel;
    if (!shape->narrow) {
        channel.start = (int32_t)words[0];
        channel.multiplier = (int32_t)words[1];
        channel.offset = (int32_t)words[2];
        return channel;
    }
    const uint32_t k = words[1] & 0xFFFFu;
    channel.start = (int32_t)(shape->folds == 2 ? k + (k << shape->field_bits) : k);
    channel.multiplier = (int32_t)words[0];
    channel.offset = le_high(words[1]) * (1 << shape->offset_shift);
    return channel;
}

/* Products of one kernel row with the two outputs of a row; `a` are its pairs of columns. */
LE_INLINE void le_fold_row(uint32_t sums[2], const uint32_t *a, const uint32_t *w,
                           unsigned kernel, unsigned stride) {
    const unsigned pairs = kernel / 2;
    int32_t first = (int32_t)sums[0], second = (int32_t)sums[1];
    for (unsigned i = 0; i < pairs; ++i) {
        first = le_smlad(a[i], w[i], first);
    }
    if (stride == 2) {
        first = le_smlabb(a[pairs], w[pairs], first);
        for (unsigned i = 0; i < pairs; ++i) {
            second = le_smlad(a[i + 1], w[i], second);
        }
        second = le_smlabb(a[pairs + 1], w[pairs], second);
    } else {
        first = le_smlabt(a[pairs], w[2 * pairs - 1], first);
        second = le_smlatb(a[0], w[0], second);
        for (unsigned i = 0; i < pairs; ++i) {
            second = le_smlad(a[i + 1], w[pairs + i], second);
        }
    }
    sums[0] = (uint32_t)first;
    sums[1] = (uint32_t)second;
}

/* The word that replaces the sums of two columns. */
LE_INLINE uint32_t le_fold_outputs(const le_requantize *channel, const uint32_t sums[2],
                                   const le_fold_shape *shape) {
    uint32_t word = 0;
    for (unsigned fold = 0; fold < shape->folds; ++fold) {
        for (unsigned column = 0; column < 2; ++column) {
            uint32_t sum = sums[column];
            if (shape->folds == 2) {
                sum = (sum >> (fold * shape->field_bits)) & ((1u << shape->field_bits) - 1u);
            }
            const uint32_t y = le_requantize_const((int32_t)sum, channel->multiplier,
                                                   channel->offset, shape->pre_shift,
                                                   shape->shift, shape->out_bits);
            word |= y << (shape->folds == 2 ? 16 * fold + 8 * column : 16 * column);
        }
    }
    return word;
}

/* All tiles of the channel whose first word is `first`. */
LE_INLINE void le_fold_channel(const le_fold_call *call, uint8_t *first, const uint32_t *w,
                               const le_requantize *channel, const le_fold_shape *shape) {
    const unsigned words = shape->kernel / 2 + shape->stride; /* pairs of columns */
    const unsigned row_weights =
        shape->stride == 2 ? shape->kernel / 2 + 1 : shape->kernel / 2 * 2;
    const uint8_t *end = first + (call->a_end - call->a);
    for (uint8_t *strip = first; strip != end; strip += call->strip_bytes) {
        uint32_t *a = (uint32_t *)(void *)strip;
        uint32_t *a_end = a + call->tile_rows_bytes / 4;
        while (a != a_end) {
            uint32_t sums[2][2];
            for (unsigned row = 0; row < 2; ++row) {
                sums[row][0] = sums[row][1] = (uint32_t)channel->start;
                for (unsigned ky = 0; ky < shape->kernel; ++ky) {
                    const uint32_t *from = a + (row * shape->stride + ky) * shape->group;
                    uint32_t columns[4];
                    for (unsigned i = 0; i < words; ++i) {
                        columns[i] = from[i * call->pair_bytes / 4];
                    }
                    le_fold_row(sums[row], columns, w + ky * row_weights, shape->kernel,
                                shape->stride);
                }
            }
            for (unsigned row = 0; row < 2; ++row) {
                *a = le_fold_outputs(channel, sums[row], shape);
                a += shape->stride * shape->group;
            }
        }
    }
}

LE_INLINE void le_fold_tile(le_fold_call *call, const le_fold_shape *shape) {
    const unsigned row_weights =
        shape->stride == 2 ? shape->kernel / 2 + 1 : shape->kernel / 2 * 2;
    const uint32_t *w = call->w;
    uint8_t *first = call->a;
    for (const uint32_t *words = call->constants; words != call->constants_end;
         words += shape->narrow ? 2 : 3) {
        const le_requantize channel = le_fold_constants(words, shape);
        le_fold_channel(call, first, w, &channel, shape);
        w += shape->kernel * row_weights;
        first += 4;
    }
}

#endif
