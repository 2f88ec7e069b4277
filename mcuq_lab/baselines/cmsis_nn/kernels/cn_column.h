/* A column of int16 in the order of memory. */
#ifndef CN_COLUMN_H
#define CN_COLUMN_H

#include "cn_support.h"

/* Widens `count` values and adds `offset`; a call for each tap. */
CN_ALONE static void cn_widen_in_order(const int8_t *in, int16_t *column, int32_t count,
                                       int32_t offset)
{
    const uint32_t offsets = cn_both(offset);
    for (int32_t groups = count >> 2; groups > 0; groups--) {
        const uint32_t four = cn_next_4(&in);
        const uint32_t odd = cn_sxtab16(offsets, cn_rotate_8(four));
        const uint32_t even = cn_sxtab16(offsets, four);
        dsp_store(column, dsp_low_halves(even, odd));
        dsp_store(column + 2, dsp_high_halves(even, odd));
        column += 4;
    }
    for (int32_t rest = count & 3; rest > 0; rest--)
        *column++ = (int16_t)(*in++ + offset);
}

#endif
