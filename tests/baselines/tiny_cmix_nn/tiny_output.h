/* What the kernels share; not part of the API. */
#ifndef TINY_OUTPUT_H
#define TINY_OUTPUT_H

#include "arm_math.h"

/* Stores clamp(z_out + floor(sum * m * 2**-n)) as field `index` of a row of `bits`-wide fields. */
uint8_t *tiny_store(uint8_t *row, int index, int bits, int32_t sum, int32_t m, int n, int z_out);

/* The fields of a word at an address that need not be aligned, in the order (0, n/2), (1, ...). */
void tiny_widen(const uint8_t *word, int bits, int offset, int16_t *to);

#endif
