/* Loads and stores at any alignment, fields of 2, 4 or 8 bits, and block copies.
 *
 * Activations: the channels of a pixel lie side by side in fields of `storage` bits (2, 4 or 8),
 * the lowest channel in the lowest bits; each pixel starts on a byte.
 *
 * The compiler may turn a plain copy loop into a call of memcpy. Generated code must not need a C
 * library, so the loops here hide their counter from it.
 */
#ifndef LE_MEMORY_H
#define LE_MEMORY_H

#include <stdint.h>

#include "le_dsp.h"

#define LE_MAY_ALIAS __attribute__((packed, may_alias))
/* What is computed from `value` behind this point is not computed before it: keeps the compiler
 * from starting all steps of an unrolled loop at once, for which there are too few registers. */
#define LE_NOT_BEFORE(value) __asm__ volatile("" : "+r"(value))
#define LE_NOT_BEFORE_2(a, b) __asm__ volatile("" : "+r"(a), "+r"(b))
/* Four loads side by side pipeline on a Cortex-M; the compiler would spread them. */
#define LE_NOT_BEFORE_4(a, b, c, d) __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d))

typedef struct LE_MAY_ALIAS { uint16_t value; } le_any16;
typedef struct LE_MAY_ALIAS { uint32_t value; } le_any32;

/* Keeps the compiler from recognising a loop as a library function. */
#define LE_KEEP_LOOP(counter) __asm__("" : "+r"(counter))
/* Keeps a constant in a register: an AND of it with a shifted operand is then one instruction,
 * where an immediate would cost a second one for the shift. */
#define LE_IN_REGISTER(constant) __asm__("" : "+r"(constant))

/* Begins the loop that follows at a word: its instructions, nearly all of 32 bits, are fetched a
 * word at a time. */
#if LE_ARM_DSP
#define LE_ALIGN_LOOP __asm__ volatile(".p2align 2")
#else
#define LE_ALIGN_LOOP
#endif

LE_INLINE uint32_t le_load16(const void *p) { return ((const le_any16 *)p)->value; }
LE_INLINE uint32_t le_load32(const void *p) { return ((const le_any32 *)p)->value; }
LE_INLINE void le_store16(void *p, uint32_t value) { ((le_any16 *)p)->value = (uint16_t)value; }
LE_INLINE void le_store32(void *p, uint32_t value) { ((le_any32 *)p)->value = value; }

/* Two words of a constant array that is aligned to 4, `offset` (constant, below 1,024) bytes behind
 * `p`: side by side they cost three cycles, where the compiler would load each by itself. */
LE_INLINE void le_load_two(const uint8_t *p, unsigned offset, uint32_t *low, uint32_t *high) {
#if LE_ARM_DSP
    __asm__ volatile("ldrd %0, %1, [%2, %3]" : "=&r"(*low), "=&r"(*high) : "r"(p), "i"(offset));
#else
    *low = le_load32(p + offset);
    *high = le_load32(p + offset + 4);
#endif
}

/* Stores an aligned word by itself: of two neighbours the compiler would make an STRD, which takes
 * a cycle more than two STR. */
LE_INLINE void le_store_alone(uint32_t *p, uint32_t value) { *(volatile uint32_t *)p = value; }

/* Width of the field that an activation of `bits` bits takes in memory. */
LE_INLINE unsigned le_storage_bits(unsigned bits) { return bits <= 2 ? 2 : bits <= 4 ? 4 : 8; }

/* Bytes from one pixel of `channels` to the next. */
LE_INLINE uint32_t le_pixel_bytes(uint32_t channels, unsigned storage) {
    return (channels * storage + 7) / 8;
}

/* Field `index` of a run of fields that starts at `p`. */
LE_INLINE uint32_t le_get_field(const uint8_t *p, uint32_t index, unsigned storage) {
    uint32_t bit = index * storage;
    return ((uint32_t)p[bit / 8] >> (bit % 8)) & ((1u << storage) - 1u);
}

/* Writes field `index` of a run whose fields are written in ascending order: the first field of a
 * byte clears the rest of it, so that bits behind the last channel of a pixel are zero. */
LE_INLINE void le_append_field(uint8_t *p, uint32_t index, unsigned storage, uint32_t value) {
    uint32_t bit = index * storage;
    uint32_t before = bit % 8 == 0 ? 0u : p[bit / 8];
    p[bit / 8] = (uint8_t)(before | (value << (bit % 8)));
}

/* Writes fields `index` (even) and, if there are `two`, index + 1 of a pixel; pairs ascend. */
LE_INLINE void le_put_pair(uint8_t *pixel, uint32_t index, unsigned storage, uint32_t low,
                           uint32_t high, int two) {
    if (storage == 8) {
        pixel[index] = (uint8_t)low;
        if (two) {
            pixel[index + 1] = (uint8_t)high;
        }
    } else {
        uint32_t pair = two ? low | (high << storage) : low;
        le_append_field(pixel, index / 2, 2 * storage, pair);
    }
}

/* Four fields x0..x3 (of 4 * storage bits, which start on a byte) spread over a word such that
 * le_even gives the halves (x0, x2) and le_odd (x1, x3). */
LE_INLINE uint32_t le_load_quad(const uint8_t *p, unsigned storage) {
    if (storage == 8) {
        return le_load32(p);
    }
    if (storage == 4) {
        uint32_t fields = le_load16(p);
        return fields | (fields << 8);
    }
    return (uint32_t)p[0] | ((uint32_t)p[0] << 12);
}

LE_INLINE uint32_t le_even(uint32_t quad, unsigned storage) {
    return storage == 8 ? le_uxtb16(quad, 0) : quad & ((1u << storage) - 1u) * 0x00010001u;
}

LE_INLINE uint32_t le_odd(uint32_t quad, unsigned storage) {
    return storage == 8 ? le_uxtb16(quad, 8)
                        : (quad >> storage) & ((1u << storage) - 1u) * 0x00010001u;
}

/* Writes x0..x3, each below 2^storage, as four fields that start on a byte. */
LE_INLINE void le_store_quad(uint8_t *p, unsigned storage, uint32_t x0, uint32_t x1, uint32_t x2,
                             uint32_t x3) {
    uint32_t fields = x0 | (x1 << storage) | (x2 << 2 * storage) | (x3 << 3 * storage);
    if (storage == 8) {
        le_store32(p, fields);
    } else if (storage == 4) {
        le_store16(p, fields);
    } else {
        p[0] = (uint8_t)fields;
    }
}

/* Writes the bytes of `count` (1..4) fields, given side by side from bit 0 up. */
LE_INLINE void le_store_fields(uint8_t *p, unsigned storage, uint32_t fields, uint32_t count) {
    for (uint32_t bit = 0; bit < count * storage; bit += 8) {
        *p++ = (uint8_t)(fields >> bit);
    }
}

/* Copies `bytes` bytes upwards; correct for overlapping blocks where `to` lies below `from`. */
LE_INLINE void le_copy(void *to, const void *from, uint32_t bytes) {
    uint8_t *target = to;
    const uint8_t *source = from;
    while (bytes >= 4) {
        le_store32(target, le_load32(source));
        target += 4;
        source += 4;
        bytes -= 4;
        LE_KEEP_LOOP(bytes);
    }
    while (bytes > 0) {
        *target++ = *source++;
        bytes -= 1;
        LE_KEEP_LOOP(bytes);
    }
}

LE_INLINE void le_fill16(int16_t *to, int32_t value, uint32_t count) {
    while (count > 0) {
        *to++ = (int16_t)value;
        count -= 1;
        LE_KEEP_LOOP(count);
    }
}

#endif
