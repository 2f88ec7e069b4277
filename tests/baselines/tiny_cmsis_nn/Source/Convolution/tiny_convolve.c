#include "arm_nnfunctions.h"
#include "tiny_support.h"

/* The inputs of one window into a column; padding holds what stands for zero. */
static void gather(const cmsis_nn_conv_params *p, const cmsis_nn_dims *in, const cmsis_nn_dims *f,
                   const int8_t *input, int32_t y, int32_t x, int16_t *column)
{
    for (int32_t ky = 0; ky < f->h; ky++)
        for (int32_t kx = 0; kx < f->w; kx++)
            for (int32_t c = 0; c < in->c; c++) {
                const int32_t row = y * p->stride.h - p->padding.h + ky;
                const int32_t col = x * p->stride.w - p->padding.w + kx;
                const int inside = row >= 0 && row < in->h && col >= 0 && col < in->w;
                *column++ = (int16_t)(inside ? input[(row * in->w + col) * in->c + c]
                                                   + p->input_offset
                                             : 0);
            }
}

arm_cmsis_nn_status arm_convolve_wrapper_s8(const cmsis_nn_context *ctx,
                                            const cmsis_nn_conv_params *conv_params,
                                            const cmsis_nn_per_channel_quant_params *quant_params,
                                            const cmsis_nn_dims *input_dims, const int8_t *input,
                                            const cmsis_nn_dims *filter_dims, const int8_t *filter,
                                            const cmsis_nn_dims *bias_dims, const int32_t *bias,
                                            const cmsis_nn_dims *output_dims, int8_t *output)
{
    const int32_t depth = filter_dims->h * filter_dims->w * input_dims->c;
    int16_t *column = ctx->buf;
    if (input_dims->n != 1 || filter_dims->c != input_dims->c || filter_dims->n != output_dims->c
        || bias_dims->c != output_dims->c || conv_params->dilation.w != 1)
        return ARM_CMSIS_NN_ARG_ERROR;
    if (column && ctx->size < depth * 2)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int32_t y = 0; y < output_dims->h; y++)
        for (int32_t x = 0; x < output_dims->w; x++) {
            const int32_t row = y * conv_params->stride.h, col = x * conv_params->stride.w;
            const int8_t *pixel = input + (row * input_dims->w + col) * input_dims->c;
            if (column)
                gather(conv_params, input_dims, filter_dims, input, y, x, column);
            for (int32_t o = 0; o < output_dims->c; o++) {
                int32_t sum = bias[o];
                for (int32_t i = 0; i < depth; i++)
                    sum += filter[o * depth + i]
                           * (column ? column[i] : pixel[i] + conv_params->input_offset);
                *output++ = tiny_requantize(sum, quant_params->multiplier[o],
                                            quant_params->shift[o], conv_params->output_offset,
                                            conv_params->activation.min,
                                            conv_params->activation.max);
            }
        }
    return ARM_CMSIS_NN_SUCCESS;
}
