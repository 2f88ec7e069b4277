/*
 * Arithmetic that all kernels of this engine share.
 *
 * Algorithm: A. Capotondi, M. Rusci, M. Fariselli, L. Benini, "CMix-NN: Mixed Low-Precision CNN
 * Library for Memory-Constrained Edge Devices", IEEE TCAS-II, 2020, and M. Rusci et al.,
 * arXiv:1905.13082: operands of 8, 4 or 2 bits lie dense in memory, are widened to pairs of 16 bits
 * by mask and shift just before they are used, and multiplied by SMLAD.
 */
#ifndef CX_SUPPORT_H
#define CX_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include "dsp_words.h"

#if defined(__ARM_FEATURE_DSP)

/* sum + the high word of a * b. */
static inline int32_t cx_smmla(int32_t a, int32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smmla %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* Halves of a minus halves of b. */
static inline uint32_t cx_ssub16(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

/* Bytes 0 and 2, zero-extended into halves. */
static inline uint32_t cx_uxtb16(uint32_t x)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(x));
    return result;
}

/* Bytes 1 and 3, zero-extended into halves. */
static inline uint32_t cx_uxtb16_ror8(uint32_t x)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
    return result;
}

/* value saturated to 0..2**bits - 1; `bits` is a constant. */
#define CX_USAT(value, bits)                                                                \
    ({                                                                                      \
        uint32_t saturated_;                                                                \
        __asm__("usat %0, %1, %2" : "=r"(saturated_) : "I"(bits), "r"(value) : "cc");       \
        saturated_;                                                                         \
    })

#else /* the same on any host */

static inline int32_t cx_smmla(int32_t a, int32_t b, int32_t sum)
{
    return sum + (int32_t)(((int64_t)a * b) >> 32);
}

static inline uint32_t cx_ssub16(uint32_t a, uint32_t b)
{
    return (uint16_t)(a - b) | ((a >> 16) - (b >> 16)) << 16;
}

static inline uint32_t cx_uxtb16(uint32_t x)
{
    return x & 0x00ff00ffu;
}

static inline uint32_t cx_uxtb16_ror8(uint32_t x)
{
    return (x >> 8) & 0x00ff00ffu;
}

static inline uint32_t cx_usat(int32_t value, int32_t bits)
{
    const int32_t most = (1 << bits) - 1;
    return (uint32_t)(value < 0 ? 0 : value > most ? most : value);
}

#define CX_USAT(value, bits) cx_usat(value, bits)

#endif

static inline uint32_t cx_ror(uint32_t x, int32_t by)
{
    return by == 0 ? x : x >> by | x << (32 - by);
}

/* Fields `pair` and `pair` + 16 / bits of a word, as two halves. */
static inline uint32_t cx_widen_8(uint32_t word, int32_t pair)
{
    return pair == 0 ? cx_uxtb16(word) : cx_uxtb16_ror8(word);
}

static inline uint32_t cx_widen_4(uint32_t word, int32_t pair)
{
    return cx_ror(word, 4 * pair) & 0x000f000fu;
}

static inline uint32_t cx_widen_2(uint32_t word, int32_t pair)
{
    return cx_ror(word, 2 * pair) & 0x00030003u;
}

/* A small unsigned value in both halves. */
static inline uint32_t cx_both(uint32_t value)
{
    return value * 0x00010001u;
}

/* Field `i` of a pixel. */
static inline uint32_t cx_field(const uint8_t *pixel, int32_t i, int32_t bits)
{
    const int32_t bit = i * bits;
    return ((uint32_t)pixel[bit >> 3] >> (bit & 7)) & ((1u << bits) - 1u);
}

#define CX_JOIN_(a, b) a##b
#define CX_JOIN(a, b) CX_JOIN_(a, b)

#endif
