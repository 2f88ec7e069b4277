/* The DSP instructions that the kernels are made of, each as one inline function.
 *
 * On a core with the DSP extension (Cortex-M4, M7) each function is one instruction. Elsewhere, and
 * in builds without optimisation (immediates need inlining), it is a twin in plain C that yields
 * the same bits and never runs into undefined behaviour: additions wrap as unsigned numbers do.
 * Instruction semantics: Armv7-M Architecture Reference Manual (DDI 0403E), section A7.7.
 *
 * Words that hold two halves or four bytes are uint32_t; numbers are int32_t.
 */
#ifndef LE_DSP_H
#define LE_DSP_H

#include <stdint.h>

#define LE_INLINE static inline __attribute__((always_inline, unused))

/* Functions that only generated code calls. A file that joins all code may define it as static. */
#ifndef LE_INTERNAL
#define LE_INTERNAL __attribute__((visibility("hidden")))
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__OPTIMIZE__) && !defined(LE_PORTABLE)
#define LE_ARM_DSP 1
#else
#define LE_ARM_DSP 0
#endif

/* The lower and the upper half of a word, as signed numbers. */
LE_INLINE int32_t le_low(uint32_t word) { return (int16_t)word; }
LE_INLINE int32_t le_high(uint32_t word) { return (int16_t)(word >> 16); }

LE_INLINE int32_t le_wrapping_add(int32_t a, int32_t b) {
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

/* SMLAD: acc + a.low * b.low + a.high * b.high. */
LE_INLINE int32_t le_smlad(uint32_t a, uint32_t b, int32_t acc) {
#if LE_ARM_DSP
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
#else
    acc = le_wrapping_add(acc, le_low(a) * le_low(b));
    return le_wrapping_add(acc, le_high(a) * le_high(b));
#endif
}

/* SMLADX: acc + a.low * b.high + a.high * b.low. */
LE_INLINE int32_t le_smladx(uint32_t a, uint32_t b, int32_t acc) {
#if LE_ARM_DSP
    int32_t result;
    __asm__("smladx %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
#else
    return le_smlad(a, (b << 16) | (b >> 16), acc);
#endif
}

/* SMUAD: a.low * b.low + a.high * b.high. */
LE_INLINE int32_t le_smuad(uint32_t a, uint32_t b) {
#if LE_ARM_DSP
    int32_t result;
    __asm__("smuad %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
#else
    return le_smlad(a, b, 0);
#endif
}

/* SMLALD: acc + a.low * b.low + a.high * b.high, 64-bit accumulator. */
LE_INLINE int64_t le_smlald(uint32_t a, uint32_t b, int64_t acc) {
#if LE_ARM_DSP
    __asm__("smlald %Q0, %R0, %1, %2" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    int64_t sum = (int64_t)(le_low(a) * le_low(b)) + le_high(a) * le_high(b);
    return (int64_t)((uint64_t)acc + (uint64_t)sum);
#endif
}

/* SMLABB, SMLABT, SMLATB, SMLATT: acc + one half of a times one half of b. */
#if LE_ARM_DSP
#define LE_SMLA_HALVES(name, half_a, half_b)                                                  \
    LE_INLINE int32_t le_##name(uint32_t a, uint32_t b, int32_t acc) {                        \
        int32_t result;                                                                       \
        __asm__(#name " %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));           \
        return result;                                                                        \
    }
#else
#define LE_SMLA_HALVES(name, half_a, half_b)                                                  \
    LE_INLINE int32_t le_##name(uint32_t a, uint32_t b, int32_t acc) {                        \
        return le_wrapping_add(acc, half_a(a) * half_b(b));                                   \
    }
#endif
LE_SMLA_HALVES(smlabb, le_low, le_low)
LE_SMLA_HALVES(smlabt, le_low, le_high)
LE_SMLA_HALVES(smlatb, le_high, le_low)
LE_SMLA_HALVES(smlatt, le_high, le_high)

/* SMLAL, UMLAL: acc + a * b, 64-bit accumulator, modulo 2^64. */
LE_INLINE int64_t le_smlal(int32_t a, int32_t b, int64_t acc) {
#if LE_ARM_DSP
    __asm__("smlal %Q0, %R0, %1, %2" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    return (int64_t)((uint64_t)acc + (uint64_t)((int64_t)a * b));
#endif
}

LE_INLINE uint64_t le_umlal(uint32_t a, uint32_t b, uint64_t acc) {
#if LE_ARM_DSP
    __asm__("umlal %Q0, %R0, %1, %2" : "+r"(acc) : "r"(a), "r"(b));
    return acc;
#else
    return acc + (uint64_t)a * b;
#endif
}

/* UMAAL: a * b + c + d; cannot overflow 64 bits. */
LE_INLINE uint64_t le_umaal(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
#if LE_ARM_DSP
    __asm__("umaal %0, %1, %2, %3" : "+r"(c), "+r"(d) : "r"(a), "r"(b));
    return ((uint64_t)d << 32) | c;
#else
    return (uint64_t)a * b + c + d;
#endif
}

/* SMMUL, SMMLA: the upper word of a * b (floor), and acc plus it. */
LE_INLINE int32_t le_smmul(int32_t a, int32_t b) {
#if LE_ARM_DSP
    int32_t result;
    __asm__("smmul %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
#else
    return (int32_t)(((int64_t)a * b) >> 32);
#endif
}

LE_INLINE int32_t le_smmla(int32_t a, int32_t b, int32_t acc) {
#if LE_ARM_DSP
    int32_t result;
    __asm__("smmla %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
#else
    return le_wrapping_add(acc, le_smmul(a, b));
#endif
}

/* SMLAWB: acc + bits 47..16 of a * b.low. */
LE_INLINE int32_t le_smlawb(int32_t a, uint32_t b, int32_t acc) {
#if LE_ARM_DSP
    int32_t result;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(acc));
    return result;
#else
    return le_wrapping_add(acc, (int32_t)(((int64_t)a * le_low(b)) >> 16));
#endif
}

/* USAT with ASR: value >> shift (floor), saturated to 0 .. 2^bits - 1.
 * `bits` (1..31) and `shift` (0..31) must be constants after inlining. */
LE_INLINE uint32_t le_usat_asr(int32_t value, unsigned bits, unsigned shift) {
#if LE_ARM_DSP
    uint32_t result;
    if (shift == 0) { /* ASR #0 has no encoding */
        __asm__("usat %0, %1, %2" : "=r"(result) : "I"(bits), "r"(value));
    } else {
        __asm__("usat %0, %1, %2, asr %3" : "=r"(result) : "I"(bits), "r"(value), "I"(shift));
    }
    return result;
#else
    int32_t shifted = value >> shift;
    int32_t largest = (int32_t)((1u << bits) - 1u);
    return shifted < 0 ? 0u : (uint32_t)(shifted > largest ? largest : shifted);
#endif
}

/* The same with a shift known only at run time (two instructions); `bits` must be a constant. */
LE_INLINE uint32_t le_usat(int32_t value, unsigned bits, unsigned shift) {
    return le_usat_asr(value >> shift, bits, 0);
}

/* SXTB16, UXTB16 with ROR: bytes 0 and 2 of the rotated word, extended to halves.
 * `rotate` is 0, 8, 16 or 24 and must be a constant after inlining. */
LE_INLINE uint32_t le_ror(uint32_t word, unsigned rotate) {
    return rotate == 0 ? word : (word >> rotate) | (word << (32 - rotate));
}

LE_INLINE uint32_t le_sxtb16(uint32_t word, unsigned rotate) {
#if LE_ARM_DSP
    uint32_t result;
    if (rotate == 0) {
        __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(word));
    } else {
        __asm__("sxtb16 %0, %1, ror %2" : "=r"(result) : "r"(word), "I"(rotate));
    }
    return result;
#else
    word = le_ror(word, rotate);
    return (uint16_t)(int8_t)word | ((uint32_t)(uint16_t)(int8_t)(word >> 16) << 16);
#endif
}

LE_INLINE uint32_t le_uxtb16(uint32_t word, unsigned rotate) {
#if LE_ARM_DSP
    uint32_t result;
    if (rotate == 0) {
        __asm__("uxtb16 %0, %1" : "=r"(result) : "r"(word));
    } else {
        __asm__("uxtb16 %0, %1, ror %2" : "=r"(result) : "r"(word), "I"(rotate));
    }
    return result;
#else
    return le_ror(word, rotate) & 0x00FF00FFu;
#endif
}

/* UXTAB16 with ROR: UXTB16 of `word` added to the halves of `sum`, modulo 2^16 each. */
LE_INLINE uint32_t le_uxtab16(uint32_t sum, uint32_t word, unsigned rotate) {
#if LE_ARM_DSP
    uint32_t result;
    if (rotate == 0) {
        __asm__("uxtab16 %0, %1, %2" : "=r"(result) : "r"(sum), "r"(word));
    } else {
        __asm__("uxtab16 %0, %1, %2, ror %3" : "=r"(result) : "r"(sum), "r"(word), "I"(rotate));
    }
    return result;
#else
    word = le_ror(word, rotate) & 0x00FF00FFu;
    return ((sum + word) & 0xFFFFu) | (((sum & 0xFFFF0000u) + word) & 0xFFFF0000u);
#endif
}

/* SSUB16: the halves of a less those of b, modulo 2^16 each. */
LE_INLINE uint32_t le_ssub16(uint32_t a, uint32_t b) {
#if LE_ARM_DSP
    uint32_t result;
    __asm__("ssub16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
#else
    return ((a - b) & 0xFFFFu) | (((a & 0xFFFF0000u) - (b & 0xFFFF0000u)) & 0xFFFF0000u);
#endif
}

/* USADA8 against zero: the four bytes of a word added to `sum`. */
LE_INLINE uint32_t le_add_bytes(uint32_t sum, uint32_t word) {
#if LE_ARM_DSP
    uint32_t result;
    __asm__("usada8 %0, %1, %2, %3" : "=r"(result) : "r"(word), "r"(0), "r"(sum));
    return result;
#else
    return sum + (word & 0xFFu) + (word >> 8 & 0xFFu) + (word >> 16 & 0xFFu) + (word >> 24);
#endif
}

/* PKHBT: lower half of a, upper half of (b << shift); shift 0..31, constant. */
LE_INLINE uint32_t le_pkhbt(uint32_t a, uint32_t b, unsigned shift) {
#if LE_ARM_DSP
    uint32_t result;
    if (shift == 0) {
        __asm__("pkhbt %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    } else {
        __asm__("pkhbt %0, %1, %2, lsl %3" : "=r"(result) : "r"(a), "r"(b), "I"(shift));
    }
    return result;
#else
    return (a & 0xFFFFu) | ((b << shift) & 0xFFFF0000u);
#endif
}

/* PKHTB: upper half of a, lower half of (b >> shift, arithmetic); shift 1..31, constant. */
LE_INLINE uint32_t le_pkhtb(uint32_t a, uint32_t b, unsigned shift) {
#if LE_ARM_DSP
    uint32_t result;
    __asm__("pkhtb %0, %1, %2, asr %3" : "=r"(result) : "r"(a), "r"(b), "I"(shift));
    return result;
#else
    return (a & 0xFFFF0000u) | ((uint32_t)((int32_t)b >> shift) & 0xFFFFu);
#endif
}

/* UBFX, SBFX: `width` bits from bit `lsb` up; constants with lsb + width <= 32, width >= 1.
 * Plain C: compilers know both instructions. */
LE_INLINE uint32_t le_ubfx(uint32_t word, unsigned lsb, unsigned width) {
    return (word << (32 - lsb - width)) >> (32 - width);
}

LE_INLINE int32_t le_sbfx(uint32_t word, unsigned lsb, unsigned width) {
    return (int32_t)(word << (32 - lsb - width)) >> (32 - width);
}

/* USUB8 and SEL: the larger of each pair of unsigned bytes. */
LE_INLINE uint32_t le_umax8(uint32_t a, uint32_t b) {
#if LE_ARM_DSP
    uint32_t result;
    __asm__("usub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(result) : "r"(a), "r"(b));
    return result;
#else
    uint32_t result = 0;
    for (unsigned lsb = 0; lsb < 32; lsb += 8) {
        uint32_t x = (a >> lsb) & 0xFFu;
        uint32_t y = (b >> lsb) & 0xFFu;
        result |= (x > y ? x : y) << lsb;
    }
    return result;
#endif
}

#endif
