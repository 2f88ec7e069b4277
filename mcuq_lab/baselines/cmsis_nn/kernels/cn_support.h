/*
 * Arithmetic that all int8 kernels of this engine share.
 *
 * Algorithm: the TensorFlow Lite 8-bit quantization specification and L. Lai, N. Suda, V. Chandra,
 * "CMSIS-NN: Efficient Neural Network Kernels for Arm Cortex-M CPUs", arXiv:1801.06601, 2018.
 * Tensors are int8 with a zero point, weights int8 with one scale for each output channel, and a
 * requantization is a Q31 multiplier with a power of two, rounded twice.
 */
#ifndef CN_SUPPORT_H
#define CN_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "dsp_words.h"

/*
 * A function by itself: not inlined, since its inner loop needs every register, and at the start of a
 * line of flash, so that its cycles do not depend on what is linked before it.
 */
#define CN_ALONE __attribute__((noinline, aligned(16)))

#if defined(__ARM_FEATURE_DSP)

/* Bytes 0 and 2, sign-extended into halves. */
static inline uint32_t cn_sxtb16(uint32_t x)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(x));
    return result;
}

/* Bytes 1 and 3, sign-extended into halves. */
static inline uint32_t cn_sxtb16_ror8(uint32_t x)
{
    uint32_t result;
    __asm__ volatile("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
    return result;
}

/* Bytes 0 and 2 of x, sign-extended and added to the halves of sum. */
static inline uint32_t cn_sxtab16(uint32_t sum, uint32_t x)
{
    uint32_t result;
    __asm__("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sum), "r"(x));
    return result;
}

/* Bytes 1 and 3 of x, sign-extended and added to the halves of sum. */
static inline uint32_t cn_sxtab16_ror8(uint32_t sum, uint32_t x)
{
    uint32_t result;
    __asm__ volatile("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sum), "r"(x));
    return result;
}

static inline uint32_t cn_sadd16(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("sadd16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

/* a + b, saturated. */
static inline int32_t cn_qadd(int32_t a, int32_t b)
{
    int32_t result;
    __asm__("qadd %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

#else /* the same on any host */

static inline uint32_t cn_sxtb16(uint32_t x)
{
    return (uint16_t)(int8_t)x | (uint32_t)(uint16_t)(int8_t)(x >> 16) << 16;
}

static inline uint32_t cn_sxtb16_ror8(uint32_t x)
{
    return cn_sxtb16(x >> 8);
}

static inline uint32_t cn_sxtab16(uint32_t sum, uint32_t x)
{
    const uint32_t wide = cn_sxtb16(x);
    return (uint16_t)(sum + wide) | ((sum >> 16) + (wide >> 16)) << 16;
}

static inline uint32_t cn_sxtab16_ror8(uint32_t sum, uint32_t x)
{
    return cn_sxtab16(sum, x >> 8);
}

static inline uint32_t cn_sadd16(uint32_t a, uint32_t b)
{
    return (uint16_t)(a + b) | ((a >> 16) + (b >> 16)) << 16;
}

static inline int32_t cn_qadd(int32_t a, int32_t b)
{
    const int64_t sum = (int64_t)a + b;
    return (int32_t)(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

#endif

/* sum + the product of the low (high) halves; gcc makes one SMLABB (SMLATT) of it. */
static inline int32_t cn_multiply_low(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + (int16_t)a * (int16_t)b;
}

static inline int32_t cn_multiply_high(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + ((int32_t)a >> 16) * ((int32_t)b >> 16);
}

/* The same, and moves the pointer behind what was loaded. */
static inline uint32_t cn_next_4(const int8_t **p)
{
    const uint32_t word = dsp_load(*p);
    *p += 4;
    return word;
}

static inline uint32_t cn_next_2x16(const int16_t **p)
{
    const uint32_t word = dsp_load(*p);
    *p += 2;
    return word;
}

static inline uint32_t cn_rotate_8(uint32_t word)
{
    return word >> 8 | word << 24;
}

/* The low half of value in both halves. */
static inline uint32_t cn_both(int32_t value)
{
    return ((uint32_t)value & 0xffffu) * 0x00010001u;
}

/* High word of 2 * value * multiplier, rounded to nearest. */
static inline int32_t cn_doubling_high_multiply(int32_t value, int32_t multiplier)
{
    const int64_t product = ((int64_t)1 << 30) + (int64_t)value * multiplier;
    return (int32_t)(product >> 31);
}

/* value / 2**exponent, rounded to nearest, halves away from zero. */
static inline int32_t cn_rounding_shift(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)((1u << exponent) - 1u);
    const int32_t rest = value & mask;
    int32_t below_half = mask >> 1;
    int32_t quotient = value >> exponent;
    if (quotient < 0)
        below_half++;
    if (rest > below_half)
        quotient++;
    return quotient;
}

/* value * multiplier / 2**31 * 2**shift; shift > 0 shifts to the left before the product. */
static inline int32_t cn_requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift > 0 ? 0 : -shift;
    const int32_t scaled = (int32_t)((uint32_t)value << left);
    return cn_rounding_shift(cn_doubling_high_multiply(scaled, multiplier), right);
}

static inline int8_t cn_clamp(int32_t value, int32_t low, int32_t high)
{
    value = value > low ? value : low;
    value = value < high ? value : high;
    return (int8_t)value;
}

#endif
