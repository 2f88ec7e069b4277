/* What the kernels share; not part of the API. */
#ifndef TINY_SUPPORT_H
#define TINY_SUPPORT_H

#include <stdint.h>

/* value * multiplier / 2**31 * 2**shift, rounded twice; then moved and clamped. */
int8_t tiny_requantize(int32_t value, int32_t multiplier, int32_t shift, int32_t offset,
                       int32_t min, int32_t max);

int32_t tiny_scale(int32_t value, int32_t multiplier, int32_t shift);

#endif
