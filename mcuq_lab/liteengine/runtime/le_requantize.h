/* From an accumulator to a stored activation.
 *
 *     t = (((acc + start) << pre_shift) * multiplier) >> 32      64-bit product, floor
 *     y = saturate((t + offset) >> shift, 0, 2^bits - 1)         floor
 *
 * `start` is the accumulator's start value, so these functions take `sum` = acc + start, which is
 * never negative. Ranges, which the generator of the constants guarantees:
 *     0 <= sum << pre_shift < 2^31,  0 <= multiplier < 2^31,  |t + offset| < 2^31.
 */
#ifndef LE_REQUANTIZE_H
#define LE_REQUANTIZE_H

#include "le_dsp.h"

/* One output channel; 12 bytes of flash. */
typedef struct {
    int32_t start;      /* what the accumulator begins with                     */
    int32_t multiplier; /* scale as a fraction of 2^32, 0 .. 2^31 - 1           */
    int32_t offset;     /* bias, zero points, share of start, rounding; in t    */
} le_requantize;

/* SMMLA and USAT: two instructions. `pre_shift`, `shift`, `bits` constant after inlining. */
LE_INLINE uint32_t le_requantize_const(int32_t sum, int32_t multiplier, int32_t offset,
                                       unsigned pre_shift, unsigned shift, unsigned bits) {
    int32_t scaled = (int32_t)((uint32_t)sum << pre_shift);
    return le_usat_asr(le_smmla(scaled, multiplier, offset), bits, shift);
}

/* The same with shifts known only at run time: four instructions. */
LE_INLINE uint32_t le_requantize_sum(int32_t sum, const le_requantize *channel,
                                     unsigned pre_shift, unsigned shift, unsigned bits) {
    int32_t scaled = (int32_t)((uint32_t)sum << pre_shift);
    return le_usat(le_smmla(scaled, channel->multiplier, channel->offset), bits, shift);
}

#endif
