#include "arm_nnfunctions.h"
#include "tiny_support.h"

arm_cmsis_nn_status arm_fully_connected_wrapper_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_fc_params *fc_params,
    const cmsis_nn_quant_params *quant_params, const cmsis_nn_dims *input_dims,
    const int8_t *input, const cmsis_nn_dims *filter_dims, const int8_t *filter,
    const cmsis_nn_dims *bias_dims, const int32_t *bias, const cmsis_nn_dims *output_dims,
    int8_t *output)
{
    if (!quant_params->is_per_channel || fc_params->filter_offset != 0 || input_dims->n != 1
        || filter_dims->c != output_dims->c
        || filter_dims->n != input_dims->h * input_dims->w * input_dims->c)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int32_t o = 0; o < output_dims->c; o++) {
        int32_t sum = bias[o];
        for (int32_t i = 0; i < filter_dims->n; i++)
            sum += (input[i] + fc_params->input_offset) * *filter++;
        output[o] = tiny_requantize(sum, quant_params->multiplier[o], quant_params->shift[o],
                                    fc_params->output_offset, fc_params->activation.min,
                                    fc_params->activation.max);
    }
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status arm_elementwise_add_s8(
    const int8_t *input_1, const int8_t *input_2, const int32_t input_1_offset,
    const int32_t input_1_mult, const int32_t input_1_shift, const int32_t input_2_offset,
    const int32_t input_2_mult, const int32_t input_2_shift, const int32_t left_shift,
    int8_t *output, const int32_t out_offset, const int32_t out_mult, const int32_t out_shift,
    const int32_t out_min, const int32_t out_max, const int32_t block_size)
{
    for (int32_t i = 0; i < block_size; i++) {
        const int32_t a = (input_1[i] + input_1_offset) * (1 << left_shift);
        const int32_t b = (input_2[i] + input_2_offset) * (1 << left_shift);
        const int32_t sum = tiny_scale(a, input_1_mult, input_1_shift)
                            + tiny_scale(b, input_2_mult, input_2_shift);
        output[i] = tiny_requantize(sum, out_mult, out_shift, out_offset, out_min, out_max);
    }
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status arm_avgpool_s8(const cmsis_nn_context *ctx,
                                   const cmsis_nn_pool_params *pool_params,
                                   const cmsis_nn_dims *input_dims, const int8_t *input,
                                   const cmsis_nn_dims *filter_dims,
                                   const cmsis_nn_dims *output_dims, int8_t *output)
{
    const int32_t channels = input_dims->c, count = filter_dims->h * filter_dims->w;
    int32_t *sums = ctx->buf;
    if (ctx->size < channels * 4 || pool_params->padding.w != 0)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int32_t y = 0; y < output_dims->h; y++)
        for (int32_t x = 0; x < output_dims->w; x++) {
            memset(sums, 0, (size_t)channels * sizeof(*sums));
            for (int32_t k = 0; k < count; k++) {
                const int32_t row = y * pool_params->stride.h + k / filter_dims->w;
                const int32_t col = x * pool_params->stride.w + k % filter_dims->w;
                for (int32_t c = 0; c < channels; c++)
                    sums[c] += input[(row * input_dims->w + col) * channels + c];
            }
            for (int32_t c = 0; c < channels; c++)
                *output++ = (int8_t)((sums[c] + (sums[c] > 0 ? count / 2 : -(count / 2))) / count);
        }
    return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *ctx,
                                    const cmsis_nn_pool_params *pool_params,
                                    const cmsis_nn_dims *input_dims, const int8_t *input,
                                    const cmsis_nn_dims *filter_dims,
                                    const cmsis_nn_dims *output_dims, int8_t *output)
{
    for (int32_t y = 0; y < output_dims->h; y++)
        for (int32_t x = 0; x < output_dims->w; x++)
            for (int32_t c = 0; c < input_dims->c; c++) {
                int8_t best = INT8_MIN;
                for (int32_t k = 0; k < filter_dims->h * filter_dims->w; k++) {
                    const int32_t row = y * pool_params->stride.h + k / filter_dims->w;
                    const int32_t col = x * pool_params->stride.w + k % filter_dims->w;
                    const int8_t value = input[(row * input_dims->w + col) * input_dims->c + c];
                    best = value > best ? value : best;
                }
                *output++ = best;
            }
    return ARM_CMSIS_NN_SUCCESS;
}

void arm_concatenation_s8_x(const int8_t *input, const uint16_t input_x, const uint16_t input_y,
                            const uint16_t input_z, const uint16_t input_w, int8_t *output,
                            const uint16_t output_x, const uint32_t offset_x)
{
    for (int32_t i = 0; i < input_y * input_z * input_w; i++)
        memcpy(output + offset_x + i * output_x, input + i * input_x, input_x);
}

void arm_reshape_s8(const int8_t *input, int8_t *output, const uint32_t total_size)
{
    memcpy(output, input, total_size);
}
