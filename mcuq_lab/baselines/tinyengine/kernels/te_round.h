/*
 * The nearest integer in double precision, halves away from zero: C's round() without a C library,
 * integer code on the two words of a number, as in C libraries.
 */
#ifndef TE_ROUND_H
#define TE_ROUND_H

#include <stdint.h>

/* Bits 20 to 30 of the upper word are the exponent, those below it and the lower word a fraction. */
static inline double te_round(double value)
{
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    uint32_t upper = (uint32_t)(bits >> 32), lower = (uint32_t)bits;
    const int32_t exponent = (int32_t)(upper >> 20 & 0x7ffu) - 1023;
    if (exponent < 20) {
        if (exponent < 0) { /* below 1: from a half on it is 1, else 0 */
            upper = (upper & 0x80000000u) | (exponent == -1 ? 0x3ff00000u : 0u);
        } else { /* the binary point is in the upper word */
            const uint32_t behind_point = 0xfffffu >> exponent;
            if (((upper & behind_point) | lower) == 0)
                return value;
            upper = (upper + (0x80000u >> exponent)) & ~behind_point;
        }
        bits = (uint64_t)upper << 32;
    } else if (exponent < 52) {
        const uint64_t behind_point = 0xfffffffffffffu >> exponent;
        bits = (bits + (0x8000000000000u >> exponent)) & ~behind_point;
    } else { /* no bit is behind the point; infinities and what is no number, too */
        return value;
    }
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
}

#endif
