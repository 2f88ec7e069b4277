/* From dense fields to 16-bit halves, ready for SMLAD. */
#ifndef LE_UNPACK_H
#define LE_UNPACK_H

#include <stdint.h>

#include "le_dsp.h"
#include "le_memory.h"

/* Signed field `k` (0..7) of a group of eight fields of `bits` bits, which take `bits` bytes. */
LE_INLINE uint32_t le_group_field(uint32_t low, uint32_t high, unsigned k, unsigned bits) {
    unsigned lsb = k * bits;
    if (lsb + bits <= 32) {
        return (uint32_t)le_sbfx(low, lsb, bits);
    }
    if (lsb >= 32) {
        return (uint32_t)le_sbfx(high, lsb - 32, bits);
    }
    return (uint32_t)le_sbfx((low >> lsb) | (high << (32 - lsb)), 0, bits);
}

/* The `bits` bytes of a group of eight fields, without reading beyond them. */
LE_INLINE uint32_t le_group_low(const uint8_t *p, unsigned bits) {
    if (bits >= 4) {
        return le_load32(p);
    }
    return bits == 3 ? le_load16(p) | ((uint32_t)p[2] << 16) : le_load16(p);
}

LE_INLINE uint32_t le_group_high(const uint8_t *p, unsigned bits) {
    switch (bits) {
    case 5: return p[4];
    case 6: return le_load16(p + 4);
    case 7: return le_load16(p + 4) | ((uint32_t)p[6] << 16);
    case 8: return le_load32(p + 4);
    default: return 0;
    }
}

/* Widens `count` signed weights, dense at `bits` bits (2..8, lowest bits first) from a byte on. */
LE_INLINE void le_unpack_weights(int16_t *to, const uint8_t *from, uint32_t count, unsigned bits) {
    while (count >= 8) {
        uint32_t low = le_group_low(from, bits);
        uint32_t high = le_group_high(from, bits);
        for (unsigned k = 0; k < 8; k += 2) {
            le_store32(to + k, le_pkhbt(le_group_field(low, high, k, bits),
                                        le_group_field(low, high, k + 1, bits), 16));
        }
        to += 8;
        from += bits;
        count -= 8;
    }
    uint32_t reservoir = 0;
    unsigned filled = 0;
    while (count > 0) {
        if (filled < bits) {
            reservoir |= (uint32_t)*from++ << filled;
            filled += 8;
        }
        *to++ = (int16_t)le_sbfx(reservoir, 0, bits);
        reservoir >>= bits;
        filled -= bits;
        count -= 1;
        LE_KEEP_LOOP(count);
    }
}

/* Widens `count` unsigned activations from fields of `storage` bits (2, 4, 8). */
LE_INLINE void le_unpack_fields(int16_t *to, const uint8_t *from, uint32_t count,
                                unsigned storage) {
    while (count >= 4) {
        uint32_t quad = le_load_quad(from, storage);
        uint32_t even = le_even(quad, storage);
        uint32_t odd = le_odd(quad, storage);
        le_store32(to, le_pkhbt(even, odd, 16));
        le_store32(to + 2, le_pkhtb(odd, even, 16));
        to += 4;
        from += storage / 2;
        count -= 4;
    }
    for (uint32_t i = 0; i < count; ++i) {
        to[i] = (int16_t)le_get_field(from, i, storage);
    }
}

#endif
