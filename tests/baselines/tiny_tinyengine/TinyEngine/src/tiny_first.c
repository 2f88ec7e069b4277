#include "arm_nnfunctions.h"

#include "tinyengine_function.h"

tinyengine_status convolve_s8_kernel3_inputch3_stride2_pad1(
    const q7_t *input, const uint16_t input_x, const uint16_t input_y, const uint16_t input_ch,
    const q7_t *kernel, const int32_t *bias, const int32_t *output_shift,
    const int32_t *output_mult, const int32_t output_offset, const int32_t input_offset,
    const int32_t output_activation_min, const int32_t output_activation_max, q7_t *output,
    const uint16_t output_x, const uint16_t output_y, const uint16_t output_ch,
    q15_t *runtime_buf, q15_t *kbuf, q7_t pad_value)
{
    (void)input_y;
    for (int i = 0; i < 27 * output_ch; i++)
        kbuf[i] = kernel[i];
    for (int p = 0; p < output_x * output_y; p++) {
        for (int i = 0; i < 27; i++) {
            const int y = p / output_x * 2 - 1 + i / 9, x = p % output_x * 2 - 1 + i / 3 % 3;
            const q7_t *pixel = input + (y * input_x + x) * input_ch; /* none below or right */
            runtime_buf[i] = (q15_t)((y < 0 || x < 0 ? pad_value : pixel[i % 3]) + input_offset);
        }
        for (int o = 0; o < output_ch; o++) {
            q31_t sum = bias[o];
            for (int i = 0; i < 27; i++)
                sum += runtime_buf[i] * kbuf[27 * o + i];
            sum = arm_nn_requantize(sum, output_mult[o], output_shift[o]) + output_offset;
            sum = MAX(sum, output_activation_min);
            *output++ = (q7_t)MIN(sum, output_activation_max);
        }
    }
    return STATE_SUCCESS;
}
