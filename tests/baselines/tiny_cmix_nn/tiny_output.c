#include "arm_cmixnn.h"
#include "tiny_output.h"

/* As the original writes functions that return pointers. */
uint8_t
*tiny_store(uint8_t *row, int index, int bits, int32_t sum, int32_t m, int n, int z_out)
{
    const int left = n < 0 ? -n : 0, right = n < 0 ? 0 : n;
    const int32_t x = (tiny_high_word(sum * (1 << left), m) >> right) + z_out;
    const int32_t largest = (1 << bits) - 1, bit = index * bits;
    const int32_t y = (int32_t)(bits == 8 ? __USAT(x, 8) : bits == 4 ? __USAT(x, 4) : __USAT(x, 2));
    row[bit / 8] = (uint8_t)((row[bit / 8] & ~(largest << bit % 8)) | y << bit % 8);
    return row;
}

void tiny_widen(const uint8_t *word, int bits, int offset, int16_t *to)
{
    const uint32_t mask = (1u << bits) - 1, zeros = __PKHBT(offset, offset, 16);
    for (int i = 0; i < 16 / bits; i++) {
        const uint32_t pair = __ROR((uint32_t)*__SIMD32(word), (uint32_t)(i * bits));
        const uint32_t fields = bits == 8 ? __UXTB16(pair) : pair & (mask << 16 | mask);
        const uint32_t moved = __SSUB16(fields, zeros);
        memcpy(to + 2 * i, &moved, sizeof(moved));
    }
}
