#include "tiny_support.h"

int32_t tiny_scale(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)(value * (1 << left)) * multiplier;
    const int32_t high = (int32_t)((product + (1 << 30)) >> 31);
    const int32_t mask = (int32_t)((1u << right) - 1), rest = high & mask;
    return (high >> right) + (rest > (mask >> 1) + (high < 0));
}

int8_t tiny_requantize(int32_t value, int32_t multiplier, int32_t shift, int32_t offset,
                       int32_t min, int32_t max)
{
    const int32_t scaled = tiny_scale(value, multiplier, shift) + offset;
    return (int8_t)(scaled < min ? min : scaled > max ? max : scaled);
}
