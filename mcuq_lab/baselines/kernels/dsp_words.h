/*
 * Words of two halves, as the DSP instructions of Cortex-M take them: what kernels of all engines share.
 */
#ifndef DSP_WORDS_H
#define DSP_WORDS_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP)

/* sum + both products. Volatile: keeps its place, else gcc loads ahead until registers run out. */
static inline int32_t dsp_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm__ volatile("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* The low (high) halves of a and b, a's in the low half. */
static inline uint32_t dsp_low_halves(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

static inline uint32_t dsp_high_halves(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(b), "r"(a));
    return result;
}

#else /* the same on any host */

static inline int32_t dsp_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    const int32_t low = (int32_t)(int16_t)a * (int16_t)b;
    const int32_t high = (int32_t)(int16_t)(a >> 16) * (int16_t)(b >> 16);
    return (int32_t)((uint32_t)sum + (uint32_t)low + (uint32_t)high);
}

static inline uint32_t dsp_low_halves(uint32_t a, uint32_t b)
{
    return (a & 0xffffu) | b << 16;
}

static inline uint32_t dsp_high_halves(uint32_t a, uint32_t b)
{
    return a >> 16 | (b & 0xffff0000u);
}

#endif

/* Unaligned little-endian words; one LDR or STR on Cortex-M. */
static inline uint32_t dsp_load(const void *p)
{
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

static inline void dsp_store(void *p, uint32_t word)
{
    __builtin_memcpy(p, &word, sizeof word);
}

#endif
