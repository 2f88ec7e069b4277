/*
 * What CMix-NN and TinyEngine use of CMSIS-DSP's header: its names, each as one instruction of the
 * Cortex-M4 (Arm DUI 0553). A library that brings its own header is given that one.
 */
#ifndef MCUQ_FREESTANDING_ARM_MATH_H
#define MCUQ_FREESTANDING_ARM_MATH_H

#include <stdint.h>
#include <string.h>

typedef int8_t q7_t;
typedef int16_t q15_t;
typedef int32_t q31_t;
typedef int64_t q63_t;

typedef enum {
    ARM_MATH_SUCCESS = 0,
    ARM_MATH_ARGUMENT_ERROR = -1,
    ARM_MATH_LENGTH_ERROR = -2,
    ARM_MATH_SIZE_MISMATCH = -3,
} arm_status;

union arm_nnword {
    q31_t word;
    q15_t half_words[2];
    q7_t bytes[4];
};

#define __STATIC_INLINE static inline
#define __STATIC_FORCEINLINE static inline __attribute__((always_inline))

/* The word at a pointer, which may be advanced as a pointer to words. */
#define __SIMD32_TYPE int32_t
#define __SIMD32(pointer) (*(__SIMD32_TYPE **)&(pointer))

#if defined(__ARM_FEATURE_DSP)

__STATIC_FORCEINLINE int32_t __SMLAD(uint32_t a, uint32_t b, uint32_t sum)
{
    int32_t result;
    __asm__ volatile("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

__STATIC_FORCEINLINE uint32_t __SSUB16(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__ volatile("ssub16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

__STATIC_FORCEINLINE uint32_t __SADD16(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__ volatile("sadd16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b) : "cc");
    return result;
}

__STATIC_FORCEINLINE uint32_t __UXTB16(uint32_t a)
{
    uint32_t result;
    __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(a));
    return result;
}

__STATIC_FORCEINLINE uint32_t __SXTB16(uint32_t a)
{
    uint32_t result;
    __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(a));
    return result;
}

/* gcc makes one instruction of it. */
__STATIC_FORCEINLINE uint32_t __ROR(uint32_t a, uint32_t bits)
{
    return bits % 32 ? a >> bits % 32 | a << (32 - bits % 32) : a;
}

#define __USAT(value, bits)                                                                 \
    ({                                                                                      \
        uint32_t saturated_;                                                                \
        __asm__("usat %0, %1, %2" : "=r"(saturated_) : "I"(bits), "r"(value) : "cc");       \
        saturated_;                                                                         \
    })

#define __SSAT(value, bits)                                                                 \
    ({                                                                                      \
        int32_t saturated_;                                                                 \
        __asm__("ssat %0, %1, %2" : "=r"(saturated_) : "I"(bits), "r"(value) : "cc");       \
        saturated_;                                                                         \
    })

#define __PKHBT(a, b, bits)                                                                 \
    (((uint32_t)(a) & 0xffffu) | ((uint32_t)(b) << (bits) & 0xffff0000u))

#define __PKHTB(a, b, bits)                                                                 \
    (((uint32_t)(a) & 0xffff0000u) | ((uint32_t)((int32_t)(b) >> (bits)) & 0xffffu))

#endif

#endif
