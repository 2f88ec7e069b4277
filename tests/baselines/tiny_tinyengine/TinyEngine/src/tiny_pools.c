#include "arm_nnfunctions.h"

#include "tinyengine_function.h"

/* Both end without a return, as the library's do. */
tinyengine_status avg_pooling(const q7_t *input, const uint16_t input_h, const uint16_t input_w,
                              const uint16_t input_c, const uint16_t sample_h,
                              const uint16_t sample_w, const uint16_t output_h,
                              const uint16_t output_w, const int32_t out_activation_min,
                              const int32_t out_activation_max, q7_t *output)
{
    const int count = sample_h * sample_w;
    (void)input_h;
    for (int i = 0; i < output_h * output_w * input_c; i++) {
        const int p = i / input_c, c = i % input_c;
        int sum = 0;
        for (int k = 0; k < count; k++) {
            const int y = p / output_w * sample_h + k / sample_w;
            sum += input[(y * input_w + p % output_w * sample_w + k % sample_w) * input_c + c];
        }
        sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
        output[i] = (q7_t)MIN(MAX(sum, out_activation_min), out_activation_max);
    }
}

tinyengine_status max_pooling(const q7_t *input, const uint16_t input_h, const uint16_t input_w,
                              const uint16_t input_c, const uint16_t sample_h,
                              const uint16_t sample_w, const uint16_t output_h,
                              const uint16_t output_w, const int32_t out_activation_min,
                              const int32_t out_activation_max, q7_t *output)
{
    (void)input_h;
    for (int i = 0; i < output_h * output_w * input_c; i++) {
        const int p = i / input_c, c = i % input_c;
        int largest = out_activation_min;
        for (int k = 0; k < sample_h * sample_w; k++) {
            const int y = p / output_w * sample_h + k / sample_w;
            const int x = p % output_w * sample_w + k % sample_w;
            largest = MAX(largest, input[(y * input_w + x) * input_c + c]);
        }
        output[i] = (q7_t)MIN(largest, out_activation_max);
    }
}
