#include "arm_nnfunctions.h"

#include "tinyengine_function.h"

/* Ends without a return, as the library's does. */
tinyengine_status add_fpreq(int size, const int8_t *input1_data, const float input1_scale,
                            const float input1_zero, const int8_t *input2_data,
                            const float input2_scale, const float input2_zero,
                            const float output_scale, const float zero_y, int8_t *output_data)
{
    for (int i = 0; i < size; i++) {
        const float first = (input1_data[i] - input1_zero) * input1_scale;
        const float second = (input2_data[i] - input2_zero) * input2_scale;
        const int sum = (int)round((first + second) / output_scale + zero_y);
        output_data[i] = (int8_t)MIN(MAX(sum, -128), 127);
    }
}
