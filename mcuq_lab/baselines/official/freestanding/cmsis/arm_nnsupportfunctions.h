/*
 * What TinyEngine uses of CMSIS-NN's header of helpers (CMSIS 5): reading four bytes or two halves
 * and stepping on, widening to pairs of 16 bits, and TensorFlow Lite's requantization.
 */
#ifndef MCUQ_FREESTANDING_ARM_NNSUPPORTFUNCTIONS_H
#define MCUQ_FREESTANDING_ARM_NNSUPPORTFUNCTIONS_H

#include "arm_math.h"

#define LEFT_SHIFT(shift) ((shift) > 0 ? (shift) : 0)
#define RIGHT_SHIFT(shift) ((shift) > 0 ? 0 : -(shift))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) ((a) < (b) ? (a) : (b))

__STATIC_FORCEINLINE q31_t arm_nn_read_q15x2(const q15_t *from)
{
    q31_t value;
    memcpy(&value, from, sizeof(value));
    return value;
}

__STATIC_FORCEINLINE q31_t arm_nn_read_q15x2_ia(const q15_t **from)
{
    const q31_t value = arm_nn_read_q15x2(*from);
    *from += 2;
    return value;
}

__STATIC_FORCEINLINE q31_t arm_nn_read_q7x4(const q7_t *from)
{
    q31_t value;
    memcpy(&value, from, sizeof(value));
    return value;
}

__STATIC_FORCEINLINE q31_t arm_nn_read_q7x4_ia(const q7_t **from)
{
    const q31_t value = arm_nn_read_q7x4(*from);
    *from += 4;
    return value;
}

__STATIC_FORCEINLINE void arm_nn_write_q7x4_ia(q7_t **to, q31_t value)
{
    memcpy(*to, &value, sizeof(value));
    *to += 4;
}

__STATIC_FORCEINLINE void write_q15x2_ia(q15_t **to, q31_t value)
{
    memcpy(*to, &value, sizeof(value));
    *to += 2;
}

#if defined(__ARM_FEATURE_DSP)

/* Four bytes as (0, 1) and (2, 3). */
__STATIC_FORCEINLINE const q7_t *read_and_pad(const q7_t *from, q31_t *out1, q31_t *out2)
{
    const uint32_t word = (uint32_t)arm_nn_read_q7x4_ia(&from);
    const uint32_t odd = __SXTB16(__ROR(word, 8)), even = __SXTB16(word);
    *out2 = (q31_t)__PKHTB(odd, even, 16);
    *out1 = (q31_t)__PKHBT(even, odd, 16);
    return from;
}

/* Four bytes as (0, 2) and (1, 3). */
__STATIC_FORCEINLINE const q7_t *read_and_pad_reordered(const q7_t *from, q31_t *out1, q31_t *out2)
{
    const uint32_t word = (uint32_t)arm_nn_read_q7x4_ia(&from);
    *out2 = (q31_t)__SXTB16(__ROR(word, 8));
    *out1 = (q31_t)__SXTB16(word);
    return from;
}

#endif

/* value * multiplier / 2**31 * 2**shift, rounded twice. */
__STATIC_FORCEINLINE q31_t arm_nn_requantize(q31_t value, q31_t multiplier, q31_t shift)
{
    const q31_t right = RIGHT_SHIFT(shift);
    const q63_t product = (q63_t)(value * (1 << LEFT_SHIFT(shift))) * multiplier;
    const q31_t high = (q31_t)((product + (1 << 30)) >> 31);
    const q31_t mask = (q31_t)((1u << right) - 1), rest = high & mask;
    return (high >> right) + (rest > (mask >> 1) + (high < 0));
}

#endif
