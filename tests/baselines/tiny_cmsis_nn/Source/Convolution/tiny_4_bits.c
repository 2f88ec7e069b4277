#include "arm_nnfunctions.h"

/* Weights of 4 bits, two in a byte, the earlier one in the low nibble, widened to bytes. */
static int8_t wide[4096];

static int widen(const int8_t *filter, const cmsis_nn_dims *dims)
{
    const int32_t count = dims->n * dims->h * dims->w * dims->c;
    if (count > (int32_t)sizeof(wide))
        return 0;
    for (int32_t i = 0; i < count; i++) {
        const int32_t nibble = ((uint8_t)filter[i / 2] >> 4 * (i % 2)) & 15;
        wide[i] = (int8_t)(nibble < 8 ? nibble : nibble - 16);
    }
    return 1;
}

arm_cmsis_nn_status arm_convolve_wrapper_s4(const cmsis_nn_context *ctx,
                                            const cmsis_nn_conv_params *conv_params,
                                            const cmsis_nn_per_channel_quant_params *quant_params,
                                            const cmsis_nn_dims *input_dims, const int8_t *input,
                                            const cmsis_nn_dims *filter_dims, const int8_t *filter,
                                            const cmsis_nn_dims *bias_dims, const int32_t *bias,
                                            const cmsis_nn_dims *output_dims, int8_t *output)
{
    if (!widen(filter, filter_dims))
        return ARM_CMSIS_NN_ARG_ERROR;
    return arm_convolve_wrapper_s8(ctx, conv_params, quant_params, input_dims, input, filter_dims,
                                   wide, bias_dims, bias, output_dims, output);
}

arm_cmsis_nn_status arm_depthwise_conv_wrapper_s4(
    const cmsis_nn_context *ctx, const cmsis_nn_dw_conv_params *dw_conv_params,
    const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input, const cmsis_nn_dims *filter_dims, const int8_t *filter,
    const cmsis_nn_dims *bias_dims, const int32_t *bias, const cmsis_nn_dims *output_dims,
    int8_t *output)
{
    if (!widen(filter, filter_dims))
        return ARM_CMSIS_NN_ARG_ERROR;
    return arm_depthwise_conv_wrapper_s8(ctx, dw_conv_params, quant_params, input_dims, input,
                                         filter_dims, wide, bias_dims, bias, output_dims, output);
}

int32_t arm_convolve_wrapper_s4_get_buffer_size_dsp(const cmsis_nn_conv_params *conv_params,
                                                    const cmsis_nn_dims *input_dims,
                                                    const cmsis_nn_dims *filter_dims,
                                                    const cmsis_nn_dims *output_dims)
{
    return arm_convolve_wrapper_s8_get_buffer_size_dsp(conv_params, input_dims, filter_dims,
                                                       output_dims);
}

int32_t arm_depthwise_conv_wrapper_s4_get_buffer_size_dsp(
    const cmsis_nn_dw_conv_params *dw_conv_params, const cmsis_nn_dims *input_dims,
    const cmsis_nn_dims *filter_dims, const cmsis_nn_dims *output_dims)
{
    return arm_depthwise_conv_wrapper_s8_get_buffer_size_dsp(dw_conv_params, input_dims,
                                                             filter_dims, output_dims);
}
