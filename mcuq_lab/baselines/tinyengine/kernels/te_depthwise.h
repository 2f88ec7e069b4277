/*
 * Depthwise convolution for one window, its taps unrolled, requantized in single precision. The
 * including file defines TE_NAME, TE_KERNEL_H, TE_KERNEL_W, TE_STRIDE_H and TE_STRIDE_W.
 *
 * One channel at a time is copied to a padded plane; its outputs go where the channel's inputs were,
 * so that `out` may be `in`: no two channels share an address, whatever the stride.
 */
#include "te_layers.h"

/* One channel's parameters. */
typedef struct {
    const int8_t *weight;
    const int32_t *bias, *zero_bias;
    const float *scale;
} channel_parameters;

/* One channel of the output from its plane, two outputs at a time. */
CN_ALONE static void convolve_plane(const te_layer *layer, channel_parameters with,
                                    const int8_t *plane, int32_t plane_w, int8_t *out)
{
    const te_output to = te_output_of(layer);
    const int32_t out_w = layer->out_w, out_h = layer->out_h, step = layer->out_c;
    for (int32_t y = 0; y < out_h; y++) {
        const int8_t *window = plane;
        for (int32_t x = 0; x < out_w / 2; x++) {
            const int8_t *row = window;
            int32_t sum_0 = *with.bias + *with.zero_bias, sum_1 = *with.bias + *with.zero_bias;
#pragma GCC unroll 8
            for (int32_t ky = 0; ky < TE_KERNEL_H; ky++) {
#pragma GCC unroll 8
                for (int32_t kx = 0; kx < TE_KERNEL_W; kx++) {
                    const int32_t w = with.weight[ky * TE_KERNEL_W + kx];
                    sum_0 += row[kx] * w;
                    sum_1 += row[kx + TE_STRIDE_W] * w;
                }
                row += plane_w;
            }
            out[(y * out_w + 2 * x) * step] = te_finish_float(to, sum_0, *with.scale);
            out[(y * out_w + 2 * x + 1) * step] = te_finish_float(to, sum_1, *with.scale);
            window += 2 * TE_STRIDE_W;
        }
        if (out_w & 1) {
            const int8_t *row = window;
            int32_t sum = *with.bias + *with.zero_bias;
#pragma GCC unroll 8
            for (int32_t ky = 0; ky < TE_KERNEL_H; ky++) {
#pragma GCC unroll 8
                for (int32_t kx = 0; kx < TE_KERNEL_W; kx++)
                    sum += row[kx] * with.weight[ky * TE_KERNEL_W + kx];
                row += plane_w;
            }
            out[(y * out_w + out_w - 1) * step] = te_finish_float(to, sum, *with.scale);
        }
        plane += TE_STRIDE_H * plane_w;
    }
}

static void copy_plane(const te_layer *layer, const int8_t *in, int32_t plane_w, int8_t *plane)
{
    const int32_t in_w = layer->in_w, in_c = layer->in_c;
    plane += layer->pad_top * plane_w + layer->pad_left;
    for (int32_t y = layer->in_h; y > 0; y--) {
        for (int32_t x = 0; x < in_w; x++) {
            plane[x] = *in;
            in += in_c;
        }
        plane += plane_w;
    }
}

void TE_NAME(const te_layer *layer, const int8_t *in, int8_t *plane, int8_t *out);

/* plane: the padded input's height times width, int8. */
void TE_NAME(const te_layer *layer, const int8_t *in, int8_t *plane, int8_t *out)
{
    const int32_t plane_w = layer->pad_left + layer->in_w + layer->pad_right;
    const int32_t plane_h = layer->pad_top + layer->in_h + layer->pad_bottom;
    __builtin_memset(plane, layer->in_zero, (size_t)(plane_h * plane_w)); /* padding, once */
    for (int32_t channel = 0; channel < layer->in_c; channel++) {
        copy_plane(layer, in + channel, plane_w, plane);
        const channel_parameters with = {
            layer->weight + channel * TE_KERNEL_H * TE_KERNEL_W,
            layer->bias + channel,
            layer->zero_bias + channel,
            layer->scale + channel,
        };
        convolve_plane(layer, with, plane, plane_w, out + channel);
    }
}
