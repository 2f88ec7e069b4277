// 1000 samples through a filter of 128 taps, its outputs summed.

#include <stdint.h>

enum { SAMPLES = 1000, TAPS = 128 };

void fir(const int32_t *samples, const int32_t *taps, int32_t *out)
{
    int64_t sum = 0;
    for (int n = 0; n < SAMPLES; n++)
        for (int i = 0; i < TAPS; i++)
            if (n >= i)
                sum += (int64_t)samples[n - i] * taps[i];
    *out = (int32_t)(sum >> 20);
}
