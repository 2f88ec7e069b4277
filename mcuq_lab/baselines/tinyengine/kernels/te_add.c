/*
 * Addition of real values in single precision, rounded in double precision, as the library does with
 * C's round(). Where the FPU has no double precision, that and gcc's conversions before and behind
 * it are calls of functions, and most of what an addition costs.
 */
#include "te_layers.h"
#include "te_round.h"

#if defined(__thumb2__) && (__ARM_FP & 8)

/* One instruction. */
static inline double rounded(double value)
{
    return __builtin_round(value);
}

#else

/* A function of its own, as the C library's is. */
static __attribute__((noinline)) double rounded(double value)
{
    return te_round(value);
}

#endif

void te_add(const te_addition *layer, const int8_t *a, const int8_t *b, int8_t *out, int32_t size)
{
    const float zero_a = layer->zero_a, zero_b = layer->zero_b, zero = layer->zero;
    const float scale_a = layer->scale_a, scale_b = layer->scale_b, scale = layer->scale;
    for (int32_t i = 0; i < size; i++) {
        const float left = ((float)a[i] - zero_a) * scale_a;
        const float right = ((float)b[i] - zero_b) * scale_b;
        out[i] = te_saturate((int32_t)rounded((double)((left + right) / scale + zero)));
    }
}
