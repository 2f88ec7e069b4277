/* Types of the API, and the float functions that it declares. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

typedef int8_t q7_t;
typedef int16_t q15_t;

typedef enum {
    STATE_SUCCESS = 0,
    PARAM_NO_SUPPORT = 1,
} tinyengine_status;

tinyengine_status convolve_1x1_s8_fpreq(
    const q7_t *input, const uint16_t input_x, const uint16_t input_y, const uint16_t input_ch,
    const q7_t *kernel, const int32_t *bias, const float *scales, const int32_t out_offset,
    const int32_t input_offset, const int32_t out_activation_min,
    const int32_t out_activation_max, q7_t *output, const uint16_t output_x,
    const uint16_t output_y, const uint16_t output_ch, q15_t *runtime_buf);

tinyengine_status convolve_1x1_s8_ch8_fpreq(
    const q7_t *input, const uint16_t input_x, const uint16_t input_y, const uint16_t input_ch,
    const q7_t *kernel, const int32_t *bias, const float *scales, const int32_t out_offset,
    const int32_t input_offset, const int32_t out_activation_min,
    const int32_t out_activation_max, q7_t *output, const uint16_t output_x,
    const uint16_t output_y, const uint16_t output_ch, q15_t *runtime_buf);

#include "genInclude.h"
