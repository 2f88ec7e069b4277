/*
 * Weights of 4 bits: two in a byte, the earlier one in the low nibble. Rows follow each other without a
 * gap, so that with an odd number of weights every second row starts in the middle of a byte.
 */
#ifndef CN_NIBBLES_H
#define CN_NIBBLES_H

#include "cn_support.h"

/* Four weights as two pairs of halves: those at even places, and those at odd ones. */
typedef struct {
    uint32_t even, odd;
} cn_four;

static inline int32_t cn_low_nibble(int8_t byte)
{
    return (int8_t)(uint8_t)((uint32_t)byte << 4) >> 4;
}

static inline int32_t cn_high_nibble(int8_t byte)
{
    return byte >> 4;
}

static inline uint32_t cn_rotate_4(uint32_t word)
{
    return word >> 4 | word << 28;
}

/* The high nibbles of bytes 0 and 2, sign-extended into halves. */
static inline uint32_t cn_high_nibbles(uint32_t bytes)
{
    return cn_sxtb16(cn_rotate_4(cn_sxtb16(bytes)));
}

/* Two bytes in the halves of a word; the one load of 16 bits. */
static inline uint32_t cn_two_bytes(const int8_t *p)
{
    uint32_t both;
    __builtin_memcpy(&both, p, 2);
    return (both & 0xffu) | (both & 0xff00u) << 8;
}

static inline cn_four cn_widen_nibbles(const int8_t *p)
{
    const uint32_t bytes = cn_two_bytes(p);
    const cn_four four = {cn_high_nibbles(bytes << 4), cn_high_nibbles(bytes)};
    return four;
}

/* The four that start with the high nibble of the first byte: out of three bytes. */
static inline cn_four cn_widen_nibbles_uneven(const int8_t *p)
{
    const uint32_t first = (uint8_t)p[0], middle = (uint8_t)p[1], last = (uint8_t)p[2];
    const cn_four four = {cn_high_nibbles(first | middle << 16),
                          cn_high_nibbles((middle | last << 16) << 4)};
    return four;
}

#endif
