/* Addition, pooling and copies, on fields of any width. */
#ifndef CX_SMALL_LAYERS_H
#define CX_SMALL_LAYERS_H

#include "cx_layers.h"

void cx_add(const cx_addition *layer, const uint8_t *a, int32_t a_bits, const uint8_t *b,
            int32_t b_bits, uint8_t *out, int32_t out_bits);
void cx_average_pool(const cx_pool *layer, const uint8_t *in, int32_t in_bits, uint8_t *out,
                     int32_t out_bits);
void cx_max_pool(const cx_pool *layer, const uint8_t *in, uint8_t *out, int32_t bits);

/* Copies `count` fields of each of `pixels` pixels to field `first` of the output's pixels. */
void cx_copy(const uint8_t *in, int32_t in_pixel_bytes, uint8_t *out, int32_t out_pixel_bytes,
             int32_t pixels, int32_t count, int32_t first, int32_t bits);

#endif
