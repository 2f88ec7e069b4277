#include "tiny_column.h"

q31_t tiny_dot(const q7_t *kernel, const q15_t *column, int count, int reordered, q31_t bias)
{
    q31_t sum = bias;
    for (int i = 0; i < count; i += 4) {
        q31_t w1, w2;
        kernel = reordered ? read_and_pad_reordered(kernel, &w1, &w2)
                           : read_and_pad(kernel, &w1, &w2);
        sum = __SMLAD(w1, arm_nn_read_q15x2_ia(&column), sum);
        sum = __SMLAD(w2, arm_nn_read_q15x2_ia(&column), sum);
    }
    return sum;
}

void tiny_fill(const q7_t *from, q15_t *column, int count, int reordered, int offset)
{
    const uint32_t offsets = __PKHBT(offset, offset, 16);
    for (int i = 0; i < count; i += 4) {
        q31_t x1, x2;
        from = reordered ? read_and_pad_reordered(from, &x1, &x2) : read_and_pad(from, &x1, &x2);
        write_q15x2_ia(&column, __SADD16(x1, offsets));
        write_q15x2_ia(&column, __SADD16(x2, offsets));
    }
}
