#include "tiny_column.h"

tinyengine_status convolve_s8_kernel3_stride1_pad1(
    const q7_t *input, const uint16_t input_x, const uint16_t input_y, const uint16_t input_ch,
    const q7_t *kernel, const int32_t *bias, const int32_t *output_shift,
    const int32_t *output_mult, const int32_t output_offset, const int32_t input_offset,
    const int32_t output_activation_min, const int32_t output_activation_max, q7_t *output,
    const uint16_t output_x, const uint16_t output_y, const uint16_t output_ch,
    q15_t *runtime_buf, q7_t pad_value)
{
    if (input_ch % 4 != 0)
        return PARAM_NO_SUPPORT;
    for (int p = 0; p < output_x * output_y; p++) {
        for (int k = 0; k < 9; k++) {
            const int y = p / output_x - 1 + k / 3, x = p % output_x - 1 + k % 3;
            q15_t *column = runtime_buf + k * input_ch;
            if (y >= 0 && y < input_y && x >= 0 && x < input_x)
                tiny_fill(input + (y * input_x + x) * input_ch, column, input_ch, 0,
                          input_offset);
            else
                for (int c = 0; c < input_ch; c++)
                    column[c] = (q15_t)(pad_value + input_offset);
        }
        for (int o = 0; o < output_ch; o++) {
            q31_t sum = tiny_dot(kernel + o * 9 * input_ch, runtime_buf, 9 * input_ch, 0, bias[o]);
            sum = arm_nn_requantize(sum, output_mult[o], output_shift[o]) + output_offset;
            sum = MAX(sum, output_activation_min);
            *output++ = (q7_t)MIN(sum, output_activation_max);
        }
    }
    return STATE_SUCCESS;
}
