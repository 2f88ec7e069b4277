#include "arm_nnfunctions.h"
#include "tiny_support.h"

arm_cmsis_nn_status arm_depthwise_conv_wrapper_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_dw_conv_params *dw_conv_params,
    const cmsis_nn_per_channel_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input, const cmsis_nn_dims *filter_dims, const int8_t *filter,
    const cmsis_nn_dims *bias_dims, const int32_t *bias, const cmsis_nn_dims *output_dims,
    int8_t *output)
{
    const cmsis_nn_dw_conv_params *p = dw_conv_params;
    const int32_t channels = output_dims->c;
    int32_t *sums = ctx->buf;
    if (p->ch_mult != 1 || channels != input_dims->c || filter_dims->n != 1
        || filter_dims->c != channels || ctx->size < channels * 4)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int32_t y = 0; y < output_dims->h; y++)
        for (int32_t x = 0; x < output_dims->w; x++) {
            memcpy(sums, bias, (size_t)channels * sizeof(*sums));
            for (int32_t k = 0; k < filter_dims->h * filter_dims->w; k++) {
                const int32_t row = y * p->stride.h - p->padding.h + k / filter_dims->w;
                const int32_t col = x * p->stride.w - p->padding.w + k % filter_dims->w;
                if (row < 0 || row >= input_dims->h || col < 0 || col >= input_dims->w)
                    continue;
                for (int32_t c = 0; c < channels; c++)
                    sums[c] += filter[k * channels + c]
                               * (input[(row * input_dims->w + col) * channels + c]
                                  + p->input_offset);
            }
            for (int32_t c = 0; c < channels; c++)
                *output++ = tiny_requantize(sums[c], quant_params->multiplier[c],
                                            quant_params->shift[c], p->output_offset,
                                            p->activation.min, p->activation.max);
        }
    return ARM_CMSIS_NN_SUCCESS;
}
