/* Fields of a pixel straight from memory, without a byte more than the pixel has. */
#ifndef LE_FIELDS_H
#define LE_FIELDS_H

#include <stdint.h>

#include "le_dsp.h"
#include "le_memory.h"

/* A field at the lowest bits of either half. */
LE_INLINE uint32_t le_field_mask(unsigned storage) {
    return ((1u << storage) - 1u) * 0x00010001u;
}

/* Pair `j` of a word: the fields that begin at bit j * storage of either half. Where the mask waits
 * in a register, that is one instruction. */
LE_INLINE uint32_t le_field_pair(uint32_t word, unsigned j, unsigned storage, uint32_t mask) {
    return storage == 8 ? le_uxtb16(word, 8 * j) : (word >> (j * storage)) & mask;
}

/* One to four bytes, a constant number of them, as the low ones of a word. */
LE_INLINE uint32_t le_load_bytes(const uint8_t *p, unsigned bytes) {
    switch (bytes) {
    case 1: return p[0];
    case 2: return le_load16(p);
    case 3: return le_load16(p) | ((uint32_t)p[2] << 16);
    default: return le_load32(p);
    }
}

LE_INLINE void le_store_bytes(uint8_t *p, uint32_t value, unsigned bytes) {
    switch (bytes) {
    case 1: p[0] = (uint8_t)value; break;
    case 2: le_store16(p, value); break;
    case 3:
        le_store16(p, value);
        p[2] = (uint8_t)(value >> 16);
        break;
    default: le_store32(p, value); break;
    }
}

/* Fields x0..x3, side by side from bit 0, spread as by le_load_quad: le_even gives the halves
 * (x0, x2), le_odd (x1, x3). */
LE_INLINE uint32_t le_spread_quad(uint32_t fields, unsigned storage) {
    return storage == 8 ? fields : fields | (fields << (16 - 2 * storage));
}

/* `count` fields, up to a word of them, a constant number, so that le_field_pair gives field j and
 * field j + count / 2 (rounded up); what that is of a field too many is any number. */
LE_INLINE uint32_t le_load_rest(const uint8_t *p, unsigned count, unsigned storage) {
    uint32_t fields = le_load_bytes(p, (count * storage + 7) / 8);
    return le_pkhbt(fields, fields, 16 - (count + 1) / 2 * storage);
}

#endif
