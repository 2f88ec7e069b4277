#include "tiny_column.h"

tinyengine_status convolve_1x1_s8_fpreq(
    const q7_t *input, const uint16_t input_x, const uint16_t input_y, const uint16_t input_ch,
    const q7_t *kernel, const int32_t *bias, const float *scales, const int32_t out_offset,
    const int32_t input_offset, const int32_t out_activation_min,
    const int32_t out_activation_max, q7_t *output, const uint16_t output_x,
    const uint16_t output_y, const uint16_t output_ch, q15_t *runtime_buf)
{
    if (input_ch % 4 != 0)
        return PARAM_NO_SUPPORT;
    for (int p = 0; p < output_x * output_y; p++) {
        tiny_fill(input + p * input_ch, runtime_buf, input_ch, 1, input_offset);
        for (int o = 0; o < output_ch; o++) {
            q31_t sum = tiny_dot(kernel + o * input_ch, runtime_buf, input_ch, 1, bias[o]);
            sum = (q31_t)((float)sum * scales[o]) + out_offset;
            sum = MAX(sum, out_activation_min);
            *output++ = (q7_t)MIN(sum, out_activation_max);
        }
    }
    return STATE_SUCCESS;
}

tinyengine_status convolve_1x1_s8_ch8_fpreq(
    const q7_t *input, const uint16_t input_x, const uint16_t input_y, const uint16_t input_ch,
    const q7_t *kernel, const int32_t *bias, const float *scales, const int32_t out_offset,
    const int32_t input_offset, const int32_t out_activation_min,
    const int32_t out_activation_max, q7_t *output, const uint16_t output_x,
    const uint16_t output_y, const uint16_t output_ch, q15_t *runtime_buf)
{
    if (input_ch != 8)
        return PARAM_NO_SUPPORT;
    return convolve_1x1_s8_fpreq(input, input_x, input_y, input_ch, kernel, bias, scales,
                                 out_offset, input_offset, out_activation_min,
                                 out_activation_max, output, output_x, output_y, output_ch,
                                 runtime_buf);
}
